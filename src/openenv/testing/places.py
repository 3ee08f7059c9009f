"""File and line of what a finding is about."""

from __future__ import annotations

import ast
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from openenv.environment import Environment, EnvironmentSpec, environment_source_location

_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = _PACKAGE / "envs"
_GLOBAL_GENERATORS = ("random", "numpy.random")


def place_of(spec: EnvironmentSpec, method: str = "") -> str:
    """Return where a method of the environment is written, or its class where it has none of its own."""
    cls = spec.cls
    for name in (f"{method}_async", method) if method and cls is not None else ():
        own = getattr(cls, name, None)
        if own is not None and own is not getattr(Environment, name, None):
            return environment_source_location(own.fget if isinstance(own, property) else own)
    return environment_source_location(cls or spec.factory)


def place_of_error(error: BaseException, spec: EnvironmentSpec) -> str:
    """Return the line of the environment's code at which an error was raised."""
    cause: BaseException = error.__cause__ or error
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        if _is_authors(frame.filename):
            return f"{frame.filename}:{frame.lineno}"
    return place_of(spec, "step")


def place_of_thread(ident: int | None) -> str:
    """Return the line of the environment's code at which a thread is, empty if it is elsewhere."""
    frame: FrameType | None = sys._current_frames().get(ident or 0)
    while frame is not None:
        if _is_authors(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def place_of_attribute(cls: type, name: str) -> str:
    """Return where a class assigns or annotates an attribute."""
    for tree, file in _sources(cls):
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return f"{file}:{node.lineno}"
    return environment_source_location(cls)


def place_of_global_random(spec: EnvironmentSpec) -> str:
    """Return the first line of the class that calls a global random generator, else the class."""
    for base in () if spec.cls is None else spec.cls.__mro__:
        for tree, file in _sources(base):
            aliases = _module_aliases(Path(file))
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and _dotted(node.func, aliases).rpartition(".")[0] in _GLOBAL_GENERATORS
                ):
                    return f"{file}:{node.lineno}"
    return place_of(spec)


def _is_authors(filename: str) -> bool:
    path = Path(filename)
    if not path.is_file() or _PACKAGE in path.parents:
        return _SHIPPED in path.parents
    parts = path.parts
    standard = Path(inspect.__file__).resolve().parent
    return "site-packages" not in parts and standard not in path.parents


def _sources(cls: type) -> Iterator[tuple[ast.ClassDef, str]]:
    """Yield the syntax tree of a class with its true line numbers, and its file; nothing without source."""
    try:
        file = inspect.getsourcefile(cls) or ""
        line = inspect.getsourcelines(cls)[1]
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == line:
                yield node, file


def _module_aliases(file: Path) -> dict[str, str]:
    """Return what the names imported anywhere in a file stand for."""
    aliases: dict[str, str] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                top = name.name.split(".")[0]
                aliases[name.asname or top] = name.name if name.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            aliases.update({name.asname or name.name: f"{node.module}.{name.name}" for name in node.names})
    return aliases


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""
