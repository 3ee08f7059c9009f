"""Find the environment in one Python file or one module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from openenv.catalog.loading import explain
from openenv.catalog.manifest import MANIFEST, read_manifest
from openenv.catalog.namespace import exists, open_namespace
from openenv.environment import Environment
from openenv.errors import TargetError


def load_file(path: Path) -> ModuleType:
    """Load one Python file, or give the module that is loaded from it already.

    The file may import its neighbours, flat or (inside a package) relatively.

    Raises:
        TargetError: there is no such file, or it does not import.
    """
    path = path.resolve()
    if not path.is_file():
        raise TargetError(f"there is no file {path}{_nearest_file(path)}")
    loaded = _loaded_from(path)
    if loaded is not None:
        return loaded
    folder = _root_folder(path.parent)
    name = None
    if (folder / MANIFEST).is_file():
        name = read_manifest(folder).package
    elif (folder / "__init__.py").is_file():
        name = folder.name
    try:
        natural = _natural_name(path) if name is None else None
        if natural:
            return importlib.import_module(natural)
        return open_namespace(folder, name).import_file(path)
    except Exception as problem:  # boundary: code of the author
        raise TargetError(explain(problem, path)) from problem


def load_module(name: str) -> ModuleType | None:
    """Import a module by its dotted name; the current directory counts as importable.

    Returns:
        The module, or None if there is no module of that name.

    Raises:
        TargetError: it does not import.
    """
    here = Path.cwd()
    if not exists(name.partition(".")[0]):
        if (here / f"{name}.py").is_file():
            return load_file(here / f"{name}.py")
        if (here / name.partition(".")[0]).is_dir():
            sys.path.append(str(here))  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name and f"{name}.".startswith(f"{problem.name}."):
            return None
        raise TargetError(explain(problem, _module_place(name))) from problem
    except Exception as problem:  # boundary: code of the author
        raise TargetError(explain(problem, _module_place(name))) from problem


def find_in(module: ModuleType, attribute: str | None) -> Any:
    """Give what a target names in a module: the attribute, or the only environment class defined there.

    Raises:
        TargetError: there is no such attribute, no environment class, or more than one.
    """
    place = getattr(module, "__file__", None) or module.__name__
    if attribute:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if found is None:
            raise TargetError(f"{place} defines no {attribute!r}{_hint(attribute, module)}")
        return found
    classes = environment_classes(module)
    if len(classes) == 1:
        return classes[0]
    if not classes:
        raise TargetError(f"{place} defines no environment (a class derived from openenv.Environment)")
    names = ", ".join(f"{place}:{cls.__name__}" for cls in classes)
    raise TargetError(f"{place} defines several environments; say which one: {names}")


def environment_classes(module: ModuleType) -> list[type[Environment[Any, Any, Any]]]:
    """Environment classes that a module offers.

    These are the ones in its `__all__`, if it has one, else those defined in it. Abstract classes and
    names with a leading underscore do not count, nor do bases of another one, unless `__all__` names them.
    """
    listed = getattr(module, "__all__", None)
    if listed is not None:
        found = [getattr(module, name, None) for name in listed]
        return [cls for cls in found if _is_environment(cls)]
    here = [
        cls
        for name, cls in vars(module).items()
        if _is_environment(cls) and cls.__module__ == module.__name__ and not name.startswith("_")
    ]
    distinct = list(dict.fromkeys(here))
    return [cls for cls in distinct if not any(cls in other.__mro__[1:] for other in distinct)]


def _is_environment(value: object) -> TypeGuard[type[Environment[Any, Any, Any]]]:
    return isinstance(value, type) and issubclass(value, Environment) and not inspect.isabstract(value)


def _hint(name: str, module: ModuleType) -> str:
    near = get_close_matches(name, [own for own in vars(module) if not own.startswith("_")], n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    classes = ", ".join(cls.__name__ for cls in environment_classes(module))
    return f"; it defines {classes}" if classes else ""


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    near = get_close_matches(path.name, [entry.name for entry in path.parent.glob("*.py")], n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def _loaded_from(path: Path) -> ModuleType | None:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path:
            return module
    return None


def _root_folder(folder: Path) -> Path:
    """The package that a file is part of, or its own folder if it is part of none."""
    for above in (folder, *folder.parents[:2]):
        if (above / MANIFEST).is_file():
            return above
    while (folder / "__init__.py").is_file() and (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _natural_name(path: Path) -> str | None:
    """The name by which an ordinary import finds exactly this file, if any."""
    name = path.stem
    if not name.isidentifier():
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module of that name is loaded and has no spec
        return None
    return name if spec is not None and spec.origin and Path(spec.origin).resolve() == path else None


def _module_place(name: str) -> Path:
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):  # it has no spec; the current directory is as good
        spec = None
    return Path(spec.origin) if spec is not None and spec.origin else Path.cwd()
