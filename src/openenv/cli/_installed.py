"""Environment packages that are installed in this Python: distributions called `openenv-*`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True, slots=True)
class InstalledEnvironment:
    """One installed environment package.

    Attributes:
        name: the TARGET that names it.
        distribution: name of the distribution that brought it.
        version: its version.
        description: one line about it, empty if it says nothing.
    """

    name: str
    distribution: str
    version: str
    description: str


def installed_environments(search_path: Sequence[str] | None = None) -> list[InstalledEnvironment]:
    """Environment packages on the import path, by name, without importing them.

    Args:
        search_path: folders to look into; default `sys.path`.
    """
    found: dict[str, InstalledEnvironment] = {}
    for distribution in metadata.distributions(path=list(sys.path if search_path is None else search_path)):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if not name.startswith("openenv-") or name == "openenv-core":
            continue
        module = name.removeprefix("openenv-").replace("-", "_")
        summary = distribution.metadata.json.get("summary", "")
        found.setdefault(module, InstalledEnvironment(module, name, distribution.version, str(summary)))
    return [found[name] for name in sorted(found)]
