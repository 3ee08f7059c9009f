"""Describe the public surface of `openenv.core` in whichever interpreter runs this file, as JSON.

For each module: every name that the `openenv` distribution defines (wherever), with its signature, and
for classes their methods, enum members and pydantic fields. Run it in a virtual environment that has
the published package to renew `published_surface.json`::

    /path/to/venv/bin/python tests/core/surface.py > tests/core/published_surface.json
"""

import enum
import importlib
import inspect
import json
import types
import warnings

MODULES = """
core core.client_types core.env_client core.generic_client core.mcp_client core.sync_client core.utils
core.env_server core.env_server.base_transforms core.env_server.exceptions core.env_server.gradio_theme
core.env_server.gradio_ui core.env_server.http_server core.env_server.interfaces
core.env_server.mcp_environment core.env_server.mcp_types core.env_server.route_config
core.env_server.serialization core.env_server.types core.env_server.web_interface
core.containers core.containers.runtime core.containers.runtime.providers core.containers.runtime.uv_provider
core.rubrics core.rubrics.base core.rubrics.containers core.rubrics.llm_judge core.rubrics.trajectory
core.tools
""".split()

INCIDENTAL = {"TYPE_CHECKING", "overrides_method", "GIT_URL_PREFIX"}

PRIVATE_BUT_USED = {
    "EnvClient": ["_step_payload", "_parse_result", "_parse_state"],
    "Environment": [
        "_apply_transform",
        "_apply_rubric",
        "_apply_rubric_async",
        "_reset_rubric",
        "_reset_rubric_async",
    ],
    "MCPEnvironment": ["_step_impl"],
    "WebInterfaceManager": ["_run_sync_in_thread_pool"],
}


def parameters(function):
    """Each parameter as a word: ``x``, ``x=default``, ``*args``, ``**kwargs``; ``only x`` by keyword only."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    marks = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**", "KEYWORD_ONLY": "only "}
    found = []
    for parameter in signature.parameters.values():
        word = marks.get(parameter.kind.name, "") + parameter.name
        if parameter.default is not parameter.empty:
            simple = parameter.default is None or isinstance(parameter.default, (bool, int, float, str))
            word += f"={parameter.default!r}" if simple else "=..."
        found.append(word)
    return found


def schema(model):
    """A pydantic model's JSON Schema without words."""

    def strip(value):
        if isinstance(value, dict):
            return {
                key: {name: strip(child) for name, child in inner.items()}
                if key in ("properties", "$defs")
                else strip(inner)
                for key, inner in value.items()
                if key not in ("title", "description", "examples")
            }
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(model.model_json_schema())


def describe_class(cls):
    # A constructor of its own says more than `inspect.signature(cls)`, which prefers `__new__`.
    own = inspect.isfunction(cls.__init__)
    found = {"kind": "class", "parameters": parameters(cls.__init__)[1:] if own else parameters(cls)}
    if issubclass(cls, enum.Enum):
        return {"kind": "enum", "members": {member.name: member.value for member in cls}}
    if hasattr(cls, "model_json_schema"):
        found = {"kind": "model", "schema": schema(cls), "extra": cls.model_config.get("extra")}
    members = {}
    for name in dir(cls):
        used = any(name in PRIVATE_BUT_USED.get(base.__name__, ()) for base in cls.__mro__)
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        if (name.startswith("_") and not used) or not owner.__module__.startswith("openenv"):
            continue
        raw = inspect.getattr_static(cls, name)
        if isinstance(raw, property):
            members[name] = "property"
        elif callable(getattr(cls, name, None)):
            members[name] = parameters(getattr(cls, name))
        elif isinstance(raw, (bool, int, float, str)) and not hasattr(cls, "__dataclass_fields__"):
            members[name] = raw
    members.pop("model_config", None)
    return {**found, "abstract": sorted(getattr(cls, "__abstractmethods__", ())), "members": members}


def describe(value):
    if value is None:
        return {"kind": "none"}
    if inspect.isclass(value):
        return describe_class(value)
    if inspect.isfunction(value):
        return {
            "kind": "function",
            "parameters": parameters(value),
            "async": inspect.iscoroutinefunction(value),
        }
    if isinstance(value, (bool, int, float, str)):
        return {"kind": "value", "value": value}
    if isinstance(value, (set, frozenset)):
        return {"kind": "set", "value": sorted(value)}
    return {"kind": "object"}


def belongs(name, value, module):
    """Whether a name in a module is one that the distribution offers."""
    if name.startswith("_") or name in INCIDENTAL or isinstance(value, types.ModuleType):
        return False
    if name in getattr(module, "__all__", ()):
        return True
    home = getattr(value, "__module__", None)
    if inspect.isclass(value) or inspect.isfunction(value):
        return str(home).startswith("openenv.")
    return name.isupper() or name in ("ActT", "ObsT", "StateT", "Scalar", "WSIncomingMessage")


def names(module):
    if hasattr(module, "__all__"):
        return sorted({*module.__all__, *vars(module)})
    return sorted(vars(module))


def surface():
    """Modules with their names, and every name described once."""
    modules, objects = {}, {}
    for path in MODULES:
        module = importlib.import_module(f"openenv.{path}")
        found = {name: getattr(module, name, None) for name in names(module)}
        modules[path] = [name for name, value in found.items() if belongs(name, value, module)]
        objects |= {name: describe(found[name]) for name in modules[path]}
    return {"modules": modules, "objects": objects}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = surface()
    modules = ",\n".join(
        f'  "{path}": {json.dumps(found["modules"][path])}' for path in sorted(found["modules"])
    )
    objects = ",\n".join(
        f'  "{name}": {json.dumps(found["objects"][name], sort_keys=True)}'
        for name in sorted(found["objects"])
    )
    print(f'{{\n"modules": {{\n{modules}\n}},\n"objects": {{\n{objects}\n}}\n}}')
