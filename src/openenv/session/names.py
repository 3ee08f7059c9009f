"""Which worker a session belongs to: its id says so."""

from __future__ import annotations

import re

_OWNER = re.compile(r"-w(\d{1,9})\Z")
_SHOWN = 8


def suffix_of(worker: int) -> str:
    """What the ids of a worker's sessions end in."""
    return f"-w{worker}"


def worker_of(session_id: str) -> int | None:
    """The number of the worker that made a session id; None if no worker did."""
    match = _OWNER.search(session_id)
    return int(match[1]) if match else None


def short_id(session_id: str) -> str:
    """A session id as people see it: enough to tell sessions apart, too little to attach to one."""
    match = _OWNER.search(session_id)
    body, tail = (session_id[: match.start()], match[0]) if match else (session_id, "")
    return body[:_SHOWN] + tail
