"""Tools for environments; none of the published ones is part of this version."""

from typing import NoReturn

from openenv.core._later import refuse

_INSTEAD = {
    "GitServerClient": "call git in a subprocess from your environment",
    "PyExecutor": "run code in a subprocess from your environment",
    "RepoInfo": "call git in a subprocess from your environment",
}


def __getattr__(name: str) -> NoReturn:
    if name in _INSTEAD:
        refuse(f"openenv.core.tools.{name}", _INSTEAD[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
