"""Environments that ship with the package: one folder each below `openenv/envs`.

The folder's name is the environment's name; the first environment class in the folder's `__all__` is
what the name means; the first line of its docstring describes it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules


@dataclass(frozen=True, slots=True)
class ShippedEnvironment:
    """One environment that ships with the package.

    Attributes:
        name: the name to give to `openenv.make` or `openenv serve`.
        module: module that defines it.
        description: one line about it.
    """

    name: str
    module: str
    description: str


def shipped() -> list[ShippedEnvironment]:
    """List the environments that ship with the package, by name, without importing them."""
    folder = _folder()
    return [
        ShippedEnvironment(name, f"openenv.envs.{name}", _describe(folder, name)) for name in shipped_names()
    ]


def shipped_names() -> list[str]:
    """Names of the environments that ship with the package."""
    modules = iter_modules([str(_folder())])
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def _folder() -> Path:
    import openenv

    return Path(str(openenv.__file__)).parent / "envs"


def _describe(folder: Path, name: str) -> str:
    package = folder / name / "__init__.py"
    file = package if package.is_file() else folder / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return docstring.partition("\n")[0] if docstring else ""
