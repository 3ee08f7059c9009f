"""Load a published environment package from its folder, unmodified.

The manifest names the ASGI application (`server.app:app`); the folder is opened as a namespace of its
own, so relative, absolute and flat imports all work and other packages stay undisturbed.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from openenv.catalog.loading import explain
from openenv.catalog.manifest import Manifest, is_package_folder, read_manifest
from openenv.catalog.namespace import Namespace, open_namespace
from openenv.errors import TargetError

if TYPE_CHECKING:
    from openenv.environment import EnvironmentSpec

_log = logging.getLogger("openenv.catalog")


@dataclass(frozen=True, slots=True)
class PublishedApp:
    """An application that a package or a file defines, ready to be served.

    Attributes:
        name: name of the environment.
        app: the FastAPI application, with whatever routes and middleware its author added.
        runtime: the server behind it, a `ServerRuntime`; None if the author built the application alone.
        folder: the package's folder, None if it came from elsewhere.
        manifest: its manifest, if it has a folder.
    """

    name: str
    app: Any
    runtime: Any = None
    folder: Path | None = None
    manifest: Manifest | None = None

    @property
    def spec(self) -> EnvironmentSpec:
        """The environment behind the application.

        Raises:
            TargetError: the application was not made by `create_app` or `HTTPEnvServer`, so it can be
                served but not stepped in process.
        """
        if self.runtime is None:
            raise TargetError(
                f"the application of {self.name!r} was not made by create_app or HTTPEnvServer, so it can be "
                "served but not run in process. Serve it and connect to its URL."
            )
        return self.runtime.spec  # type: ignore[no-any-return]


def published_app(name: str, app: Any, scope: Mapping[str, Any], **facts: Any) -> PublishedApp:
    """Wrap an application together with the server behind it.

    Args:
        name: name of the environment.
        app: the application.
        scope: names of the module that made it, among which an `HTTPEnvServer` may be.
        **facts: further fields.
    """
    runtime = getattr(getattr(app, "state", None), "openenv", None)
    if runtime is None:
        servers = (getattr(value, "runtime", None) for value in scope.values() if _is_server(value))
        runtime = next(servers, None)
    return PublishedApp(name, app, runtime, **facts)


def _is_server(value: object) -> bool:
    module = sys.modules.get("openenv.server.app")
    return module is not None and isinstance(value, module.HTTPEnvServer)


def load_published(folder: Path) -> PublishedApp:
    """Load the application of a package folder.

    Raises:
        TargetError: there is no such package, it does not import, or it has no application where its
            manifest says.
    """
    folder = folder.resolve()
    if not is_package_folder(folder):
        raise TargetError(f"{folder} has neither openenv.yaml nor server/app.py")
    manifest = read_manifest(folder)
    namespace = open_namespace(folder, manifest.package)
    _import_root(namespace)
    module_path, _, attribute = manifest.app.partition(":")
    module = _import_app_module(namespace, manifest, module_path)
    app = _application(module, attribute or "app", manifest)
    return published_app(manifest.name, app, vars(module), folder=folder, manifest=manifest)


def _import_root(namespace: Namespace) -> None:
    """Run the folder's `__init__.py`, which imports its client as a rule.

    A server image often lacks what only the client needs, and published servers start from
    `server.app` without running this file; so a missing import in it is no obstacle to serving.
    """
    try:
        namespace.import_module()
    except ImportError as problem:
        _log.warning("%s/__init__.py does not import (%s); serving without it", namespace.folder, problem)
        namespace.add_root()
    except Exception as problem:  # boundary: code of the package
        raise TargetError(explain(problem, namespace.folder)) from problem


def _import_app_module(namespace: Namespace, manifest: Manifest, path: str) -> ModuleType:
    for prefix in (f"envs.{manifest.package}.", f"{manifest.package}."):
        path = path.removeprefix(prefix)
    file = namespace.folder.joinpath(*path.split("."))
    if not file.with_suffix(".py").is_file() and not (file / "__init__.py").is_file():
        raise TargetError(
            f"{namespace.folder}: there is no {path.replace('.', '/')}.py, where the application should be "
            "(`app:` in openenv.yaml says where)"
        )
    try:
        return namespace.import_module(path)
    except Exception as problem:  # boundary: code of the package
        raise TargetError(explain(problem, namespace.folder)) from problem


def _application(module: ModuleType, attribute: str, manifest: Manifest) -> Any:
    app = getattr(module, attribute, None)
    if app is None:
        near = get_close_matches(attribute, vars(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TargetError(f"{module.__file__} defines no {attribute!r}{hint} (manifest: app: {manifest.app})")
    if is_application(app):
        return app
    if inspect.isfunction(app) and not inspect.signature(app).parameters:
        try:
            made = app()
        except Exception as problem:  # boundary: code of the package
            raise TargetError(explain(problem, Path(str(module.__file__)))) from problem
        if is_application(made):
            return made
    raise TargetError(
        f"{attribute!r} in {module.__file__} is {type(app).__name__}, not a FastAPI application"
    )


def is_application(value: object) -> bool:
    """Whether a value is a Starlette or FastAPI application (without importing either)."""
    starlette = sys.modules.get("starlette.applications")
    return starlette is not None and isinstance(value, starlette.Starlette)
