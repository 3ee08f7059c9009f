"""Deprecated import path of `openenv.core`: `openenv_core.X` is `openenv.core.X`, module for module."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import openenv.core as _core

_TARGET = "openenv.core"

warnings.warn(
    "openenv_core is deprecated: import from openenv.core instead", DeprecationWarning, stacklevel=2
)

__all__ = _core.__all__


class _Aliases(MetaPathFinder, Loader):
    """Imports `openenv_core.x` by putting the module `openenv.core.x` in its place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system; `exec_module` replaces what it makes."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = import_module(_TARGET + name.removeprefix(__name__))


sys.meta_path.insert(0, _Aliases())


def __getattr__(name: str) -> Any:
    return getattr(_core, name)


def __dir__() -> list[str]:
    return dir(_core)
