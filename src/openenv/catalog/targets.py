"""TARGET: one word for everything that leads to an environment.

=====================================  ==============================================
``game.py``, ``game.py:Guess``         a file; the class may be left out if it is the only one
``module``, ``module:Guess``           an importable module
``module:app``, ``game.py:app``        a FastAPI application made by ``create_app``
``echo``                               an environment that ships with the package
``./my_env``, ``my_env``               folder of a published package, or one installed
``http://…``, ``ws://…``, ``unix:…``   a server
an `Environment` class, a function     that makes one, an `EnvironmentSpec`, an application
=====================================  ==============================================
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from openenv.catalog.files import environment_classes, find_in, load_file, load_module
from openenv.catalog.manifest import is_package_folder
from openenv.catalog.published import PublishedApp, is_application, load_published, published_app
from openenv.catalog.shipped import shipped_names
from openenv.catalog.urls import RemoteTarget, is_url
from openenv.environment import Environment, EnvironmentSpec, describe
from openenv.errors import TargetError

Target = str | os.PathLike[str] | type[Environment[Any, Any, Any]] | Callable[..., Any] | EnvironmentSpec
"""What `resolve` takes."""

Resolved = EnvironmentSpec | PublishedApp | RemoteTarget
"""What a target leads to."""


def resolve(target: Target | PublishedApp | RemoteTarget | object) -> Resolved:
    """Find what a target leads to.

    Raises:
        TargetError: nothing; the message says what was tried, and the nearest right name.
    """
    if isinstance(target, RemoteTarget):
        return target
    if isinstance(target, os.PathLike):
        return _resolve_path(os.fspath(target), None)
    if isinstance(target, str):
        return _resolve_text(target.strip())
    return _resolve_object(target, repr(target))


def resolve_spec(target: Target | PublishedApp | object) -> EnvironmentSpec:
    """Find the environment that a target leads to, to run it in this process.

    Raises:
        TargetError: there is none, or it runs somewhere else.
    """
    resolved = resolve(target)
    if isinstance(resolved, RemoteTarget):
        raise TargetError(f"{resolved.url} is a server: its environment runs there, not in this process")
    return resolved.spec if isinstance(resolved, PublishedApp) else resolved


def _resolve_text(text: str) -> Resolved:
    if not text:
        raise TargetError("an empty target names nothing")
    if is_url(text):
        return RemoteTarget(text)
    name, _, attribute = text.rpartition(":") if ":" in text else (text, "", "")
    if _looks_like_path(name):
        return _resolve_path(name, attribute or None)
    if name in shipped_names():
        return _resolve_shipped(name, attribute or None)
    if Path(name).is_dir() and not attribute and is_package_folder(Path(name)):
        return load_published(Path(name))
    if all(part.isidentifier() for part in name.split(".")):
        return _resolve_module(name, attribute or None)
    raise TargetError(_nothing(text, "it is neither a path, nor a URL, nor a name that Python could import"))


def _looks_like_path(name: str) -> bool:
    return name.endswith(".py") or os.sep in name or name in (".", "..", "~")


def _resolve_path(name: str, attribute: str | None) -> Resolved:
    path = Path(name).expanduser()
    if not path.is_dir():
        if path.suffix != ".py" and not path.exists():
            raise TargetError(f"there is no file or folder {path.absolute()}")
        return _resolve_in(load_file(path), attribute, name)
    if attribute:
        raise TargetError(f"{name} is a folder; name a file in it: {path / 'FILE.py'}:{attribute}")
    if is_package_folder(path):
        return load_published(path)
    inside = [entry for entry in sorted(path.iterdir()) if entry.suffix == ".py" or _is_package(entry)]
    names = ", ".join(str(entry) for entry in inside[:8])
    hint = f"Did you mean {names}?" if names else "It has no Python file either."
    raise TargetError(
        f"{path} is no environment package: it has neither openenv.yaml nor server/app.py. {hint}"
    )


def _is_package(path: Path) -> bool:
    return path.is_dir() and is_package_folder(path)


def _resolve_shipped(name: str, attribute: str | None) -> Resolved:
    module = importlib.import_module(f"openenv.envs.{name}")
    if attribute:
        return _resolve_in(module, attribute, name)
    return describe(environment_classes(module)[0])


def _resolve_module(name: str, attribute: str | None) -> Resolved:
    module = load_module(name)
    if module is None:
        raise TargetError(_nothing(name, "there is none"))
    folder = Path(module.__file__).parent if module.__file__ and hasattr(module, "__path__") else None
    if attribute is None and folder is not None and (folder / "server" / "app.py").is_file():
        return load_published(folder)
    return _resolve_in(module, attribute, name)


def _resolve_in(module: ModuleType, attribute: str | None, name: str) -> Resolved:
    """What a module offers: the attribute, the application it makes, or its only environment class."""
    if attribute is None:
        app = getattr(module, "app", None)
        if is_application(app) and published_app(name, app, vars(module)).runtime is not None:
            attribute = "app"
    found = find_in(module, attribute)
    if is_application(found):
        return published_app(_app_name(found, name), found, vars(module))
    return _resolve_object(found, f"{name}:{attribute}" if attribute else name)


def _app_name(app: Any, name: str) -> str:
    runtime = getattr(getattr(app, "state", None), "openenv", None)
    return runtime.spec.name if runtime is not None else name


def _resolve_object(found: object, name: str) -> Resolved:
    if isinstance(found, EnvironmentSpec | PublishedApp):
        return found
    if is_application(found):
        return published_app(_app_name(found, name), found, {})
    if isinstance(found, Environment):
        raise TargetError(
            f"{name} is an environment that is made already; every session needs its own: "
            f"give the class {type(found).__name__}, or a function that makes one"
        )
    if callable(found):
        return describe(found)
    raise TargetError(
        f"{name} is {type(found).__name__}, not an environment class, a factory or an application"
    )


def _nothing(text: str, why: str) -> str:
    near = _nearest(text)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    names = ", ".join(shipped_names()) or "none"
    return (
        f"{text!r} leads to no environment. Tried a shipped name ({names}), a package folder of that name in "
        f"{Path.cwd()}, and a module: {why}.{hint}"
    )


def _nearest(text: str) -> list[str]:
    """Shipped names, and files and folders of the current directory, that a target may have meant."""
    known = {name: name for name in shipped_names()}
    for entry in Path().iterdir():
        if entry.suffix == ".py" or (entry.is_dir() and not entry.name.startswith(".")):
            known.setdefault(entry.stem, entry.name)
    return [known[name] for name in get_close_matches(text, known, n=3, cutoff=0.6)]
