"""Targets that are servers."""

from __future__ import annotations

import re
from dataclasses import dataclass

_URL = re.compile(r"(https?|wss?)://|unix:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """A server that runs somewhere else.

    Attributes:
        url: its address.
    """

    url: str


def is_url(text: str) -> bool:
    """Whether a target is the address of a server."""
    return _URL.match(text) is not None
