"""A target in a form that a fresh interpreter can import.

Names, files and folders travel as text. Classes and functions travel by where they were defined, as
`pickle` does it; one of the main program is found again by running its file under another name, so its
``if __name__ == "__main__":`` part does not run.
"""

from __future__ import annotations

import inspect
import os
import pickle
import runpy
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openenv.errors import OpenEnvError, TargetError, UsageError

if TYPE_CHECKING:
    from openenv.client.embedded import HostKind
    from openenv.environment import EnvironmentSpec
    from openenv.session import Limits

_MAIN = "__openenv_main__"


@dataclass(frozen=True, slots=True)
class Portable:
    """All that a worker must know.

    Attributes:
        target: the target as text, or pickled by reference.
        main: file of the main program, if the target is in it.
        files: files to be loaded before, because the target's class is not importable by name.
        folder: the current directory.
        path: where modules are found.
        host: where sessions run in a worker.
        limits: bounds on top of the author's.
    """

    target: str | bytes
    main: str | None
    files: tuple[str, ...]
    folder: str
    path: tuple[str, ...]
    host: HostKind | None
    limits: Limits | None


def portable(target: Any, spec: EnvironmentSpec, *, host: HostKind | None, limits: Limits | None) -> Portable:
    """Make a target portable.

    Args:
        target: the target as the user gave it.
        spec: what it leads to in this process.
        host: where sessions run in a worker.
        limits: bounds on top of the author's.

    Raises:
        UsageError: a fresh interpreter could not find it.
    """
    main = None
    files: tuple[str, ...] = ()
    carried: str | bytes
    if isinstance(target, str | os.PathLike):
        carried = os.fspath(target)
    else:
        owner = _owner(target, spec)
        module = getattr(owner, "__module__", "")
        carried = _pickled(target, owner)
        if module == "__main__":
            main = _main_file(owner)
        elif module.partition(".")[0] == "openenv_loaded":
            files = (str(inspect.getsourcefile(owner)),)
    return Portable(carried, main, files, os.getcwd(), tuple(sys.path), host, limits)


def _owner(target: Any, spec: EnvironmentSpec) -> Any:
    if isinstance(target, type | types.FunctionType):
        return target
    return getattr(target, "func", None) or spec.cls or spec.factory


def _pickled(target: Any, owner: Any) -> bytes:
    from openenv.environment import EnvironmentSpec

    if isinstance(target, EnvironmentSpec):
        raise UsageError(
            f"{target.name}: an EnvironmentSpec stays in its process; give the class, a function that makes "
            "instances, a file or a name, or use workers=0"
        )
    try:
        return pickle.dumps(target)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        where = getattr(owner, "__qualname__", repr(owner))
        raise UsageError(
            f"{where} cannot be found by a worker process ({problem}): define it at the top of a module or a "
            "file, or use workers=0 to run the sessions in this process"
        ) from None


def _main_file(owner: Any) -> str:
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is None or not Path(path).is_file():
        raise UsageError(
            f"{getattr(owner, '__qualname__', owner)} was typed in, and a worker process cannot find it: put "
            "it into a file, or use workers=0 to run the sessions in this process"
        )
    return str(Path(path).resolve())


def import_target(order: Portable) -> EnvironmentSpec:
    """Find the environment in this interpreter.

    Raises:
        OpenEnvError: it does not import here.
    """
    from openenv.catalog.files import load_file
    from openenv.catalog.targets import resolve_spec

    os.chdir(order.folder)
    sys.path[:] = order.path
    try:
        if order.main is not None:
            module = types.ModuleType(_MAIN)
            module.__dict__.update(runpy.run_path(order.main, run_name=_MAIN))
            sys.modules[_MAIN] = sys.modules["__main__"] = module
        for file in order.files:
            load_file(Path(file))
        target = order.target
        return resolve_spec(pickle.loads(target) if isinstance(target, bytes) else target)  # noqa: S301
    except OpenEnvError:
        raise
    except Exception as problem:  # Boundary: the author's module.
        raise TargetError(
            f"the environment does not import in a worker process: {type(problem).__name__}: {problem}"
        ) from problem
