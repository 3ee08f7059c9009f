"""Names and signatures of `openenv.core` are those of the published package."""

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openenv.errors import NotAvailableError

from . import surface

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "published_surface.json").read_text())

LATER = {
    "core": ["AnthropicClient", "LLMClient", "LLMResponse", "OpenAIClient", "ToolCall", "create_llm_client"],
    "core.rubrics": ["LLMJudge"],
    "core.tools": ["GitServerClient", "PyExecutor", "RepoInfo"],
}
"""Names that say they are not there yet."""

LATER_MODULES = """
core.llm_client core.evals core.evals.base core.harness core.harness.collect core.harness.rollout
core.rubrics.llm_judge core.tools.git_server_client core.tools.local_python_executor auto auto.auto_env
core.containers.runtime.aca_provider core.containers.runtime.daytona_provider
core.containers.runtime.hf_sandbox_provider core.containers.runtime.modal_provider
core.containers.runtime.novita_provider
""".split()

DIFFERENT_ON_PURPOSE = {
    ("UVProvider", "only host='0.0.0.0'"): "a server without a token listens on the loopback interface",
}

OUR_OWN_VALUE = {"OPENENV_GRADIO_CSS"}
"""Constants whose value is nobody's contract."""

NEED_EXTRAS = {"OPENENV_GRADIO_THEME": "gradio"}


def offered():
    for module, names in PUBLISHED["modules"].items():
        for name in names:
            if module != "core.rubrics.llm_judge" and name not in LATER.get(module, ()):
                yield module, name


@pytest.mark.parametrize("module", sorted(PUBLISHED["modules"]))
def test_every_published_name_resolves(module):
    if module in LATER_MODULES:
        return
    ours = importlib.import_module(f"openenv.{module}")
    names = [name for where, name in offered() if where == module and name not in NEED_EXTRAS]
    assert [name for name in names if not hasattr(ours, name)] == []
    assert set(getattr(ours, "__all__", ())) <= set(dir(ours))


@pytest.mark.parametrize("name", sorted({name for _, name in offered()} - set(NEED_EXTRAS)))
def test_every_published_object_is_compatible(name):
    module = next(where for where, other in offered() if other == name)
    published = PUBLISHED["objects"][name]
    ours = surface.describe(getattr(importlib.import_module(f"openenv.{module}"), name))
    assert list(differences(name, published, ours)) == []


def differences(name, published, ours):
    if published["kind"] != ours["kind"]:
        yield f"a {ours['kind']}, not a {published['kind']}"
        return
    if name not in OUR_OWN_VALUE and published["kind"] in ("value", "set", "enum") and published != ours:
        yield f"{ours} instead of {published}"
    if published["kind"] == "model" and (published["schema"], published["extra"]) != (
        ours["schema"],
        ours["extra"],
    ):
        yield f"{ours['schema']} instead of {published['schema']}"
    if published.get("async") and not ours["async"]:
        yield "not a coroutine function"
    yield from signature_differences(name, "", published.get("parameters"), ours.get("parameters"))
    for member, theirs in published.get("members", {}).items():
        mine = ours["members"].get(member)
        if mine is None:
            yield f"{member} is missing"
        elif isinstance(theirs, list):
            yield from signature_differences(name, f"{member}: ", theirs, mine)
        elif mine != theirs:
            yield f"{member} is {mine!r}, not {theirs!r}"


def signature_differences(name, where, published, ours):
    """Calls that the published signature allows and ours does not."""
    if published is None or not isinstance(ours, list) or {"*args", "**kwargs"} <= set(ours):
        return
    for index, word in enumerate(published):
        if (name, word) in DIFFERENT_ON_PURPOSE:
            continue
        if word.startswith("**"):
            fits = any(other.startswith("**") for other in ours)
        elif word.startswith("only "):
            fits = word in ours or word.removeprefix("only ") in ours
        else:
            fits = index < len(ours) and ours[index] == word
        if not fits:
            yield f"{where}{word} is not in ({', '.join(ours)})"
    known = {bare(word) for word in published}
    for word in ours:
        if bare(word) not in known and "=" not in word and not word.startswith("*"):
            yield f"{where}{word} has no default"


def bare(word):
    return word.removeprefix("only ").lstrip("*").partition("=")[0]


@pytest.mark.parametrize("module", LATER_MODULES)
def test_modules_that_are_not_there_yet_say_so_in_one_sentence(module):
    with pytest.raises(NotAvailableError, match=r"is not part of this version of OpenEnv; .*\w\.$") as caught:
        importlib.import_module(f"openenv.{module}")
    assert isinstance(caught.value, ImportError)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in LATER for name in LATER[module]])
def test_names_that_are_not_there_yet_say_so(module, name):
    with pytest.raises(ImportError, match=f"{name} is not part of this version of OpenEnv"):
        exec(f"from openenv.{module} import {name}")


def test_unknown_names_are_attribute_errors():
    for module in ("core", "core.env_server", "core.env_client", "core.rubrics", "core.tools"):
        assert not hasattr(importlib.import_module(f"openenv.{module}"), "nonsense")


def test_star_import_of_the_server_package():
    scope = {}
    exec("from openenv.core.env_server import *", scope)
    assert set(PUBLISHED["modules"]["core.env_server"]) <= set(scope)


def run(program, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_core_is_light():
    loaded = run("import openenv.core, sys; print(*sys.modules)")
    assert not {"fastapi", "starlette", "uvicorn", "websockets", "openenv.client", "openenv.server"} & set(
        loaded
    )


def test_submodules_are_attributes_after_importing_core():
    program = "import openenv.core as c; print(c.env_server.types.Action is c.Action, c.utils.__name__)"
    assert run(program) == ["True", "openenv.core.utils"]


def test_the_old_package_is_the_same_modules_and_warns():
    program = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import openenv_core.env_server.types as old
    from openenv_core.client_types import StepResult
    from openenv_core import Environment, env_client
import sys
import openenv.core.env_server.types as new
from openenv.core import Environment as E
print(old is new, Environment is E, new.__spec__.name, [str(w.category.__name__) for w in caught])
"""
    assert run(program) == ["True", "True", "openenv.core.env_server.types", "['DeprecationWarning']"]


def test_the_old_package_refuses_what_the_new_one_refuses():
    program = """
try:
    import openenv_core.harness
except ImportError as problem:
    print(type(problem).__name__)
"""
    assert run(program, "-W", "ignore") == ["NotAvailableError"]


def test_core_has_no_classes_of_its_own():
    """Re-exports only: whatever a module of `openenv.core` offers is defined elsewhere."""
    for module, name in offered():
        if name in NEED_EXTRAS:
            continue
        value = getattr(importlib.import_module(f"openenv.{module}"), name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert not value.__module__.startswith("openenv.core"), f"{module}.{name}"


@pytest.mark.published
def test_the_recorded_surface_is_that_of_the_published_package(tmp_path):
    python = os.environ.get("OPENENV_PUBLISHED_PYTHON")
    if not python:
        pytest.skip("OPENENV_PUBLISHED_PYTHON does not name a Python that has openenv==0.10.0")
    done = subprocess.run(
        [python, str(HERE / "surface.py")], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == PUBLISHED
