"""Where something was written, for messages that send an author to the right line."""

from __future__ import annotations

import inspect
from typing import Any

from openenv.errors import DefinitionError


def environment_source_location(target: Any) -> str:
    """Return ``path/file.py:12`` of a class, function or method.

    Args:
        target: a class, a function, a method, or anything that wraps one (`functools.partial`, decorators).

    Returns:
        File and line; the dotted name where no source exists (code typed at a prompt, built classes).
    """
    while True:
        inner = getattr(target, "__wrapped__", None) or getattr(target, "func", None)
        if inner is None or isinstance(target, type):
            break
        target = inner
    target = getattr(target, "__func__", target)
    code = getattr(target, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    cls = target if isinstance(target, type) else type(target)
    return _class_location(cls)


def _class_location(cls: type) -> str:
    name = f"{cls.__module__}.{cls.__qualname__}"
    try:
        path = inspect.getsourcefile(cls)
        line = inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        methods = (value for value in vars(cls).values() if hasattr(value, "__code__"))
        code = next((m.__code__ for m in methods), None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else name
    return f"{path}:{line}"


def definition_error(target: Any, what: str, fix: str) -> DefinitionError:
    """Build the error for a class that cannot be served as written.

    Args:
        target: the class or method at fault.
        what: what is wrong, as a sentence without a full stop.
        fix: what to do about it, as a sentence without a full stop.
    """
    return DefinitionError(f"{environment_source_location(target)}: {what.rstrip('.')}. {fix.rstrip('.')}.")
