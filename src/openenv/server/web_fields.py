"""What a page needs to know of an environment: the fields of its action form, its title, how to connect."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openenv.environment import Environment
from openenv.types import Action, EnvironmentMetadata, Observation

_LONG_TEXTS = ("message", "code")
_BOUNDS = {
    "min_value": "minimum",
    "max_value": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}


def action_fields(action_cls: type[Action]) -> list[dict[str, Any]]:
    """Describe an action's form, one dict per field.

    Keys: ``name``, ``type`` (text, textarea, number, checkbox, select or tensor), ``required``,
    ``description``, ``default_value``, ``choices``, ``min_value``, ``max_value``, ``min_length``,
    ``max_length``, ``pattern``, ``placeholder``, ``help_text``.
    """
    schema = action_cls.model_json_schema()
    required = set(schema.get("required", ()))
    return [
        _field(name, _resolved(part, schema), name in required)
        for name, part in schema.get("properties", {}).items()
        if name != "metadata"
    ]


def _field(name: str, part: Mapping[str, Any], required: bool) -> dict[str, Any]:
    kind = _kind(name, part)
    description = part.get("description", "")
    hint = "numbers between commas, like 1,2,3" if kind == "tensor" else ""
    return {
        "name": name,
        "type": kind,
        "required": required,
        "description": description,
        "default_value": part.get("default"),
        "choices": part.get("enum"),
        **{key: part.get(bound) for key, bound in _BOUNDS.items()},
        "placeholder": hint or name.replace("_", " "),
        "help_text": description or hint,
    }


def _kind(name: str, part: Mapping[str, Any]) -> str:
    if part.get("enum"):
        return "select"
    if part.get("type") == "boolean":
        return "checkbox"
    if part.get("type") in ("integer", "number"):
        return "number"
    if name == "tokens":
        return "tensor"
    long = name in _LONG_TEXTS or part.get("maxLength", 0) > 100
    return "textarea" if long else "text"


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A property with its reference followed and `null` taken out of its alternatives."""
    outer = dict(part)
    options = [option for option in outer.pop("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        outer = {**options[0], **outer}
    reference = outer.pop("$ref", "")
    if reference.startswith("#/$defs/"):
        outer = {**schema["$defs"][reference.removeprefix("#/$defs/")], **outer}
    return outer


def is_chat_action(action_cls: type[Action]) -> bool:
    """Whether an action is nothing but the tokens of a message."""
    return set(action_cls.model_fields) - {"metadata"} == {"tokens"}


def load_environment_metadata(env: Any, env_name: str | None = None) -> EnvironmentMetadata:
    """Say what is known of an environment.

    Args:
        env: an instance, which is asked, or a class or factory, which is not called.
        env_name: name for a class or factory; its own name if absent.

    Returns:
        Its metadata, with the README of its package if it names none itself.
    """
    if isinstance(env, Environment):
        metadata = env.get_metadata()
        source: Any = type(env)
    else:
        name = str(getattr(env, "__name__", type(env).__name__))
        metadata = EnvironmentMetadata(
            name=env_name or name, description=f"{name} environment", version="1.0.0"
        )
        source = env
    if metadata.readme_content is None:
        metadata = metadata.model_copy(update={"readme_content": _readme(source)})
    return metadata


def _readme(source: Any) -> str | None:
    """Text of `ENV_README_PATH`, else of the README beside the code or one folder above it."""
    named = os.environ.get("ENV_README_PATH")
    if named:
        places = [Path(named)]
    else:
        try:
            folder = Path(inspect.getfile(inspect.unwrap(source))).parent
        except (TypeError, OSError):  # it was not defined in a file
            return None
        places = [folder / "README.md"]
        if (folder / "__init__.py").is_file():
            places.append(folder.parent / "README.md")
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8", errors="replace")
    return None


def get_quick_start_markdown(
    metadata: EnvironmentMetadata | None,
    action_cls: type[Action],
    observation_cls: type[Observation],
) -> str:
    """Write how to connect, as Markdown with code that runs."""
    name = f"`{metadata.name}`" if metadata is not None else "this environment"
    fields = [field for field in action_fields(action_cls) if field["required"]]
    arguments = ", ".join(f"{field['name']}={_sample(field)!r}" for field in fields)
    return f"""### Connect to {name}

```python
import openenv

with openenv.make("http://localhost:8000") as env:
    observation = env.reset()
    observation, reward, done, info = env.step({arguments})
```

Actions are `{action_cls.__name__}`, observations `{observation_cls.__name__}`; `GET /schema` has both.
"""


def _sample(field: Mapping[str, Any]) -> Any:
    if field["choices"]:
        return field["choices"][0]
    if field["type"] == "number":
        return field["min_value"] or 0
    return {"checkbox": True, "tensor": [1, 2, 3]}.get(field["type"], "...")


def get_gradio_display_title(
    metadata: EnvironmentMetadata | None, fallback: str = "OpenEnv Environment"
) -> str:
    """Give the title of a page."""
    return f"OpenEnv: {metadata.name}" if metadata is not None else fallback
