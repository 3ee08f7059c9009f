"""One sentence for published names that this version does not have."""

from __future__ import annotations

from typing import NoReturn

from openenv.errors import NotAvailableError

OTHER_PROVIDERS = "use LocalDockerProvider or UVProvider, or connect to a server that already runs"


def refuse(name: str, instead: str) -> NoReturn:
    """Fail the import of `name`.

    Args:
        name: what was asked for.
        instead: what works today, as the second half of a sentence.

    Raises:
        NotAvailableError: always; it is an ImportError.
    """
    raise NotAvailableError(f"{name} is not part of this version of OpenEnv; {instead}.")
