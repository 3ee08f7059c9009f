"""Folders of environment code, side by side in one process, each with imports of its own.

Published packages name their own files in three ways, often in one ``try``/``except``::

    from ..models import MyAction          # relative
    from my_env.models import MyAction     # absolute, by the package's name
    from models import MyAction            # flat, with the folder on sys.path

and two packages that both have a ``models.py`` would take each other's. Here every folder gets one root
module of its own (``openenv_loaded.my_env_1a2b3c4d``), and every file under it is one module below that
root, whichever way it is named, so no class exists twice.

How: modules of a folder run with their own ``__builtins__``, whose ``__import__`` maps the three forms
to the name below the root and hands everything else to the ordinary import. CPython takes
``__import__`` from the builtins of the running code, so imports inside functions that run much later
map the same way, in any thread, and no other code in the process is affected. A finder on
``sys.meta_path`` gives submodules of a root, and only those, the loader that sets this up.

``importlib.import_module("models")`` is not an import statement and does not map. The builtins are a copy:
what is later put into `builtins` itself is not seen.

If the folder can be imported by its own name already (it is installed, or its parent is on
``sys.path``), that name is its root, so its classes are the same objects as the ones that the rest of
the program imports.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PRIVATE_ROOT = "openenv_loaded"
"""Parent of the root modules of folders that cannot be imported by name."""

_OURS = frozenset({"openenv", "openenv_core"})
_opening = threading.Lock()
_by_folder: dict[Path, Namespace] = {}
_by_module: dict[str, Namespace] = {}


class Namespace:
    """One folder of code with its root module.

    Attributes:
        folder: the folder, resolved.
        name: the name that code in the folder uses for it in absolute imports; None if it has none.
        module: name of the root module in `sys.modules`.
        builtins: the builtins that its modules run with.
    """

    def __init__(self, folder: Path, name: str | None) -> None:
        self.folder = folder
        self.name = name
        self.module = name if name and _imports_as(name, folder) else _private_name(folder, name)
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        self._path_before = frozenset(sys.path)
        self._extra_packages: list[str] = []
        self._odd_files: dict[str, Path] = {}
        self._found: dict[tuple[str, str], str | None] = {}

    def import_module(self, relative: str = "") -> ModuleType:
        """Import the root module, or the module `relative` (dotted) below it."""
        try:
            return importlib.import_module(f"{self.module}.{relative}" if relative else self.module)
        finally:
            self._absorb_path()

    def import_file(self, path: Path) -> ModuleType:
        """Import one file of the folder, whatever its name."""
        parts = path.relative_to(self.folder).with_suffix("").parts
        if all(part.isidentifier() for part in parts):
            return self.import_module(".".join(parts))
        relative = re.sub(r"[^0-9A-Za-z_]", "_", "_".join(parts))
        self._odd_files[f"{self.module}.{relative}"] = path
        return self.import_module(relative)

    def add_root(self) -> None:
        """Put an empty root module in place, as if the folder had no `__init__.py`."""
        spec = _folder_spec(self.module, self.folder)
        sys.modules[self.module] = importlib.util.module_from_spec(spec)

    def find_spec(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Find the root module or a module below it."""
        if fullname == self.module:
            spec = _root_spec(self.module, self.folder)
        elif fullname in self._odd_files:
            spec = _file_spec(fullname, self._odd_files[fullname])
        else:
            spec = PathFinder.find_spec(fullname, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path, self)
        return spec

    def own_name(self, name: str, importer: str) -> str | None:
        """Map an absolute import to the module's real name.

        Args:
            name: dotted name in the import statement.
            importer: package of the module that contains it.

        Returns:
            The name in `sys.modules`, or None if `name` is not one of the folder's.
        """
        head = name.partition(".")[0]
        if head in sys.stdlib_module_names or head in _OURS:
            return None
        key = (name, importer)
        if key not in self._found:
            self._found[key] = self._find_own(name, head, importer)
        return self._found[key]

    def forget_lookups(self) -> None:
        """Look names up afresh (after files were added)."""
        self._found.clear()

    def _find_own(self, name: str, head: str, importer: str) -> str | None:
        if self.name and head == self.name:
            return self.module + name[len(head) :]
        if self.name and f"{name}.".startswith(f"envs.{self.name}."):
            return self.module + name.removeprefix(f"envs.{self.name}")
        self._absorb_path()
        inside = importer if f"{importer}.".startswith(f"{self.module}.") else self.module
        for package in dict.fromkeys((self.module, inside, *self._extra_packages)):
            if _has_module(head, self.folder.joinpath(*package[len(self.module) :].split(".")[1:])):
                return f"{package}.{name}"
        if head == "core" and exists(f"openenv.{name}") and not exists(head):
            return f"openenv.{name}"
        return None

    def _absorb_path(self) -> None:
        """Move `sys.path` entries that the folder's code added for itself into its own search list."""
        for entry in [entry for entry in sys.path if entry not in self._path_before]:
            place = Path(entry).resolve()
            if not place.is_relative_to(self.folder):
                continue
            sys.path[:] = [other for other in sys.path if other != entry]
            package = ".".join((self.module, *place.relative_to(self.folder).parts))
            if package not in self._extra_packages:
                self._extra_packages.append(package)
                self._found.clear()

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        own = None
        if level == 0:
            own = self.own_name(name, str((globals or {}).get("__package__") or self.module))
        if own is None or own == name:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        try:
            importlib.import_module(own)
            if fromlist:
                return builtins.__import__(own, globals, locals, fromlist, 0)
        except ModuleNotFoundError as problem:
            if problem.name and f"{own}.".startswith(f"{problem.name}."):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None
            raise
        return self._first_module(name, own)

    def _first_module(self, name: str, own: str) -> ModuleType:
        """What `import a.b.c` binds: the module that `a` names."""
        if name.startswith("envs."):
            parent = ModuleType("envs", "Parent of environment packages.")
            setattr(parent, str(self.name), sys.modules[self.module])
            return parent
        return sys.modules[own.rsplit(".", name.count("."))[0] if "." in name else own]


class _Loader(SourceFileLoader):
    """Runs a module with the builtins of its namespace."""

    def __init__(self, fullname: str, path: str, namespace: Namespace) -> None:
        super().__init__(fullname, path)
        self._namespace = namespace

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._namespace.builtins
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds modules below the roots of open namespaces, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        head = fullname
        while head:
            namespace = _by_module.get(head)
            if namespace is not None:
                return namespace.find_spec(fullname, path)
            head = head.rpartition(".")[0]
        return None

    def invalidate_caches(self) -> None:
        for namespace in _by_module.values():
            namespace.forget_lookups()


_finder = _Finder()


def open_namespace(folder: Path, name: str | None = None) -> Namespace:
    """Give the namespace of a folder, opening it the first time.

    Args:
        folder: where the code is.
        name: the name it uses for itself in absolute imports.
    """
    folder = folder.resolve()
    with _opening:
        if folder not in _by_folder:
            namespace = Namespace(folder, name)
            _by_folder[folder] = _by_module[namespace.module] = namespace
            if PRIVATE_ROOT not in sys.modules:
                root = ModuleType(
                    PRIVATE_ROOT, "Parent of the modules that `openenv.catalog` loaded from folders."
                )
                root.__path__ = []
                sys.modules[PRIVATE_ROOT] = root
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
        return _by_folder[folder]


def _imports_as(name: str, folder: Path) -> bool:
    """Whether `import name` gives exactly this folder."""
    if name in sys.stdlib_module_names:
        return False
    loaded = sys.modules.get(name)
    try:
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a finder refuses the name, or a module without a spec bears it
        return False
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return len(places) == 1 and Path(places[0]).resolve() == folder


def _private_name(folder: Path, name: str | None) -> str:
    readable = re.sub(r"[^0-9A-Za-z_]", "_", name or folder.name)
    return f"{PRIVATE_ROOT}.{readable}_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def exists(name: str, *, as_file: bool = False) -> bool:
    """Whether an ordinary import would find `name`; with `as_file`, as more than a folder without code."""
    try:
        loaded = sys.modules.get(name)
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # its parent, or the module itself, has no spec
        return name in sys.modules
    return spec is not None and (spec.origin is not None or not as_file)


def _has_module(head: str, folder: Path) -> bool:
    """Whether `import head` with `folder` on the path would find something there."""
    spec = PathFinder.find_spec(head, [str(folder)])
    if spec is None:
        return False
    if spec.origin is not None:
        return True
    # A folder without __init__.py: Python prefers a file or package of that name from anywhere else.
    return any((folder / head).glob("*.py")) and not exists(head, as_file=True)


def _root_spec(module: str, folder: Path) -> ModuleSpec | None:
    start = folder / "__init__.py"
    if start.exists():
        return importlib.util.spec_from_file_location(
            module,
            start,
            loader=SourceFileLoader(module, str(start)),
            submodule_search_locations=[str(folder)],
        )
    return _folder_spec(module, folder)


def _folder_spec(module: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(module, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def _file_spec(module: str, path: Path) -> ModuleSpec | None:
    return importlib.util.spec_from_file_location(module, path, loader=SourceFileLoader(module, str(path)))
