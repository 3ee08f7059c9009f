"""Modules whose names are loaded when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from openenv.core._later import refuse

_Hooks = tuple[Callable[[str], Any], Callable[[], list[str]]]


def lazy_table(
    module: str,
    homes: Mapping[str, str],
    further: Sequence[str] = (),
    later: Mapping[str, str] | None = None,
) -> _Hooks:
    """Make `__getattr__` and `__dir__` of a module from a table.

    Args:
        module: the module's name.
        homes: name to the module that has it: a submodule, or a full name below `openenv`.
        further: submodules that can be reached as attributes, beside those in `homes`.
        later: names that this version does not have, and what to do instead.
    """

    def find(name: str) -> Any:
        if name in homes:
            home = homes[name]
            return getattr(import_module(home if home.startswith("openenv.") else f"{module}.{home}"), name)
        if later and name in later:
            refuse(f"{module}.{name}", later[name])
        raise _missing(module, name)

    return _hooks(module, find, homes, {*homes.values(), *further})


def lazy_search(module: str, names: Sequence[str], order: Sequence[str], further: Sequence[str]) -> _Hooks:
    """Make `__getattr__` and `__dir__` of a package that offers what its submodules offer.

    Args:
        module: the package's name.
        names: its `__all__`.
        order: submodules to look a name up in; the first whose `__all__` has it gives it.
        further: submodules that can be reached as attributes, beside those in `order`.
    """

    def find(name: str) -> Any:
        if name in names:
            for child in order:
                home = import_module(f"{module}.{child}")
                if name in home.__all__:
                    return getattr(home, name)
        raise _missing(module, name)

    return _hooks(module, find, names, {*order, *further})


def _hooks(module: str, find: Callable[[str], Any], names: Iterable[str], children: set[str]) -> _Hooks:
    def __getattr__(name: str) -> Any:
        if name in children:
            return import_module(f"{module}.{name}")
        value = find(name)
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[module]), *names})

    return __getattr__, __dir__


def _missing(module: str, name: str) -> AttributeError:
    return AttributeError(f"module {module!r} has no attribute {name!r}")
