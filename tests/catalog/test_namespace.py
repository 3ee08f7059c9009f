import importlib
import inspect
import pickle
import sys
import threading
from textwrap import dedent

import pytest

from openenv.catalog.namespace import PRIVATE_ROOT, open_namespace


@pytest.fixture
def folder(tmp_path):
    """Write files below a folder: `folder("name", {"models.py": "..."})`."""

    def write(name, files):
        root = tmp_path / name
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        return root

    return write


@pytest.fixture(autouse=True)
def _clean():
    before, path = set(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - before:
        del sys.modules[name]


MODELS = "class Move:\n    pass\n"


@pytest.mark.parametrize(
    "statement",
    [
        "from ..models import Move",
        "from my_env.models import Move",
        "from envs.my_env.models import Move",
        "from models import Move",
        "import models; Move = models.Move",
        "import my_env.models; Move = my_env.models.Move",
        "import my_env.models as m; Move = m.Move",
        "import envs.my_env.models as m; Move = m.Move",
        "from my_env import models; Move = models.Move",
        "Move = __import__('models').Move",
        "import server.inner as inner; Move = inner.Move",
        "import inner; Move = inner.Move",
        "from .inner import Move",
    ],
)
def test_every_import_style_gives_the_same_class(folder, statement):
    root = folder(
        "my_env",
        {
            "__init__.py": "",
            "models.py": MODELS,
            "server/__init__.py": "",
            "server/inner.py": "from ..models import Move",
            "server/app.py": statement,
        },
    )
    space = open_namespace(root, "my_env")
    app = space.import_module("server.app")
    assert app.Move is space.import_module("models").Move
    assert "models" not in sys.modules
    assert "my_env" not in sys.modules
    assert [m for m in sys.modules.values() if getattr(m, "__file__", None) == str(root / "models.py")] == [
        sys.modules[app.Move.__module__]
    ]


def test_dual_imports_do_not_double_a_class(folder):
    root = folder(
        "dual_env",
        {
            "__init__.py": "from .models import Move",
            "models.py": MODELS,
            "server/__init__.py": "",
            "server/app.py": """
                try:
                    from ..models import Move
                    from missing_library import nothing
                except ImportError:
                    from models import Move as Flat
                """,
        },
    )
    app = open_namespace(root, "dual_env").import_module("server.app")
    assert app.Flat is app.Move


def test_two_folders_with_the_same_names_stay_apart(folder):
    files = {
        "models.py": "WHOSE = {!r}",
        "server/__init__.py": "",
        "server/app.py": "from models import WHOSE\nfrom server.env import make",
        "server/env.py": """
            def make():
                from models import WHOSE
                import server.late as late
                return WHOSE, late.WHOSE
            """,
        "server/late.py": "from models import WHOSE",
    }
    apps = []
    for whose in ("one", "two"):
        root = folder(f"{whose}/same_env", files)
        (root / "models.py").write_text(f"WHOSE = {whose!r}")
        apps.append(open_namespace(root, "same_env").import_module("server.app"))
    assert [app.WHOSE for app in apps] == ["one", "two"]
    # Imports inside functions, run later and in another thread, still find their own.
    results = []
    thread = threading.Thread(target=lambda: results.extend(app.make() for app in reversed(apps)))
    thread.start()
    thread.join()
    assert results == [("two", "two"), ("one", "one")]
    assert not {"models", "server"} & set(sys.modules)


def test_other_code_is_not_affected(folder):
    root = folder("quiet_env", {"models.py": MODELS, "app.py": "from models import Move"})
    open_namespace(root, "quiet_env").import_module("app")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("models")
    with pytest.raises(ModuleNotFoundError):
        import quiet_env  # noqa: F401


def test_standard_library_and_installed_packages_win_over_like_named_things(folder):
    root = folder(
        "shadow_env",
        {
            "random.py": "raise AssertionError('not this one')",
            "pydantic/data.py": "",
            "app.py": "import random, pydantic\nfrom random import Random",
        },
    )
    app = open_namespace(root, "shadow_env").import_module("app")
    assert app.random is sys.modules["random"]
    assert app.pydantic.BaseModel


def test_a_folder_without_init_is_a_package_if_it_has_code(folder):
    root = folder(
        "bare_env",
        {"server/env.py": "VALUE = 1", "data/x.txt": "", "app.py": "from server.env import VALUE"},
    )
    space = open_namespace(root, "bare_env")
    assert space.import_module("app").VALUE == 1
    assert space.own_name("data", space.module) is None


def test_a_folder_that_is_the_current_directory_keeps_its_modules_to_itself(folder, monkeypatch):
    root = folder(
        "cwd_env",
        {
            "models.py": MODELS,
            "server/env.py": "from models import Move",
            "app.py": "from server.env import Move",
        },
    )
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend("")
    space = open_namespace(root, "cwd_env")
    assert space.import_module("app").Move is space.import_module("models").Move
    assert not {"models", "server"} & set(sys.modules)


def test_path_entries_inside_the_folder_stay_with_it(folder):
    root = folder(
        "path_env",
        {
            "vendor/helper_lib.py": "VALUE = 5",
            "models.py": MODELS,
            "server/__init__.py": "",
            "server/app.py": """
                import sys
                from pathlib import Path
                sys.path.insert(0, str(Path(__file__).parent.parent))
                sys.path.insert(0, str(Path(__file__).parent.parent / "vendor"))
                from models import Move
                from helper_lib import VALUE
                def later():
                    import helper_lib
                    return helper_lib.VALUE
                """,
        },
    )
    app = open_namespace(root, "path_env").import_module("server.app")
    assert (app.VALUE, app.later()) == (5, 5)
    assert not {"models", "helper_lib"} & set(sys.modules)


def test_core_means_openenv_core(folder):
    root = folder(
        "old_env", {"app.py": "from core.client_types import StepResult\nimport core.client_types as c"}
    )
    app = open_namespace(root, "old_env").import_module("app")
    from openenv.types import StepResult

    assert app.StepResult is StepResult
    assert app.c is sys.modules["openenv.core.client_types"]
    root = folder("own_core", {"core/__init__.py": "X = 1", "app.py": "from core import X"})
    assert open_namespace(root, "own_core").import_module("app").X == 1


def test_missing_modules_are_named_as_the_author_wrote_them(folder):
    root = folder(
        "lack_env",
        {
            "models.py": "import marlin_not_there",
            "a.py": "from models import X",
            "b.py": "import lack_env.nowhere",
        },
    )
    space = open_namespace(root, "lack_env")
    with pytest.raises(ModuleNotFoundError, match="marlin_not_there"):
        space.import_module("a")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'lack_env.nowhere'"):
        space.import_module("b")
    # Nothing half-made stays behind: once the cause is gone, it loads.
    (root / "models.py").write_text("X = 1")
    importlib.invalidate_caches()
    assert space.import_module("a").X == 1


def test_files_added_later_are_found_after_invalidate_caches(folder):
    root = folder("grow_env", {"app.py": "def later():\n    import added\n    return added.X"})
    app = open_namespace(root, "grow_env").import_module("app")
    with pytest.raises(ModuleNotFoundError):
        app.later()
    (root / "added.py").write_text("X = 1")
    importlib.invalidate_caches()
    assert app.later() == 1


def test_modules_are_proper_modules(folder):
    root = folder("real_env", {"__init__.py": "", "models.py": MODELS})
    space = open_namespace(root, "real_env")
    Move = space.import_module("models").Move
    assert Move.__module__.startswith(f"{PRIVATE_ROOT}.real_env_")
    assert type(pickle.loads(pickle.dumps(Move()))) is Move
    assert inspect.getsource(Move).startswith("class Move")
    module = sys.modules[Move.__module__]
    assert importlib.reload(module) is module
    assert module.__spec__.parent == space.module


def test_relative_imports_beyond_the_folder_fail(folder):
    root = folder("top_env", {"app.py": "from ...elsewhere import X"})
    with pytest.raises(ImportError):
        open_namespace(root, "top_env").import_module("app")


def test_a_folder_that_imports_by_name_keeps_that_name(folder, monkeypatch):
    root = folder(
        "natural_env",
        {
            "__init__.py": "",
            "models.py": MODELS,
            "app.py": "from models import Move\nimport natural_env.models as m",
        },
    )
    monkeypatch.syspath_prepend(str(root.parent))
    models = importlib.import_module("natural_env.models")
    app = open_namespace(root, "natural_env").import_module("app")
    assert app.__name__ == "natural_env.app"
    assert app.Move is models.Move
    assert app.m is models
    # Another folder of that name is another package.
    other = folder(
        "elsewhere/natural_env", {"__init__.py": "", "models.py": MODELS, "app.py": "from models import Move"}
    )
    assert open_namespace(other, "natural_env").import_module("app").Move is not models.Move


def test_one_folder_is_one_namespace(folder):
    root = folder("once_env", {"app.py": ""})
    assert open_namespace(root, "once_env") is open_namespace(root / ".." / "once_env", "once_env")


def test_odd_file_names(folder):
    root = folder(
        "games", {"01-guess.py": "import helper\nclass Guess: value = helper.X", "helper.py": "X = 3"}
    )
    space = open_namespace(root)
    module = space.import_file(root / "01-guess.py")
    assert module.Guess.value == 3
    assert module is space.import_file(root / "01-guess.py")
    assert type(pickle.loads(pickle.dumps(module.Guess()))) is module.Guess


def test_circular_flat_imports(folder):
    root = folder(
        "round_env",
        {"a.py": "import b\nX = 1\ndef f(): return b.Y", "b.py": "import a\nY = 2\ndef g(): return a.X"},
    )
    a = open_namespace(root, "round_env").import_module("a")
    assert (a.f(), a.b.g()) == (2, 1)


def test_star_imports(folder):
    root = folder(
        "star_env", {"models.py": "__all__ = ['A']\nA = 1\nB = 2", "app.py": "from models import *"}
    )
    app = open_namespace(root, "star_env").import_module("app")
    assert app.A == 1
    assert not hasattr(app, "B")


def test_a_top_level_import_of_the_core_package(folder):
    root = folder("core_env", {"app.py": "import core\nfrom core import env_client"})
    app = open_namespace(root, "core_env").import_module("app")
    assert app.core.__name__ == "openenv.core"


def test_names_that_other_finders_refuse_are_not_taken_for_ours(folder, monkeypatch):
    from types import ModuleType

    monkeypatch.setitem(sys.modules, "spec_less", ModuleType("spec_less"))
    root = folder(
        "spec_less", {"__init__.py": "", "app.py": "from spec_less.models import Move", "models.py": MODELS}
    )
    space = open_namespace(root, "spec_less")
    assert space.module.startswith(PRIVATE_ROOT)
    assert space.import_module("app").Move is space.import_module("models").Move


def test_a_missing_dependency_of_an_inner_module_is_not_blamed_on_the_module(folder):
    root = folder("inner_env", {"models/__init__.py": "from . import nowhere", "app.py": "import models"})
    with pytest.raises(ImportError, match="nowhere"):
        open_namespace(root, "inner_env").import_module("app")
