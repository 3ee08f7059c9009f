"""What a published package says about itself: `openenv.yaml`, and its import name in `pyproject.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from openenv.errors import TargetError

MANIFEST = "openenv.yaml"
DEFAULT_APP = "server.app:app"
"""Where published packages keep their ASGI application unless the manifest says otherwise."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A published package's manifest.

    Attributes:
        name: name of the environment.
        package: name under which the package's code imports itself.
        app: `module:attribute` of the ASGI application, below the folder.
        port: port that the package asks for.
        description: what the environment is, if it says so.
        version: its version, if it says so.
        fields: everything in the file.
    """

    name: str
    package: str
    app: str = DEFAULT_APP
    port: int = 8000
    description: str = ""
    version: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def is_package_folder(folder: Path) -> bool:
    """Whether a folder is laid out as a published environment package."""
    return (folder / MANIFEST).is_file() or (folder / "server" / "app.py").is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest; a folder without one gets the defaults.

    Raises:
        TargetError: the file is not YAML, not a mapping, or a field is of the wrong kind.
    """
    file = folder / MANIFEST
    fields: dict[str, Any] = {}
    if file.is_file():
        try:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise TargetError(f"{file} is not valid YAML: {problem}") from problem
        if loaded is not None and not isinstance(loaded, dict):
            raise TargetError(f"{file} should be a mapping of field to value, not {type(loaded).__name__}")
        fields = loaded or {}
    return Manifest(
        name=_text(fields, "name", file) or folder.name,
        package=_package_name(folder),
        app=_text(fields, "app", file) or DEFAULT_APP,
        port=_port(fields, file),
        description=_text(fields, "description", file),
        version=_text(fields, "version", file),
        fields=fields,
    )


def _text(fields: dict[str, Any], key: str, file: Path) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise TargetError(f"{file}: `{key}` should be text, not {type(value).__name__}")
    return str(value)


def _port(fields: dict[str, Any], file: Path) -> int:
    value = fields.get("port", 8000)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TargetError(f"{file}: `port` should be a whole number, not {value!r}")
    return value


def _package_name(folder: Path) -> str:
    """The key of setuptools' `package-dir` that stands for the folder itself, else the folder's name."""
    file = folder / "pyproject.toml"
    if file.is_file():
        try:
            project = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise TargetError(f"{file} is not valid TOML: {problem}") from problem
        places = project.get("tool", {}).get("setuptools", {}).get("package-dir", {})
        for name, place in places.items():
            if name and place in (".", "./"):
                return str(name)
    return folder.name.replace("-", "_")
