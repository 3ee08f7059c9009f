"""``GET /ready``: whether a session can be opened and reset, found out by doing it.

One probe runs at a time and its answer stands for a few seconds, so that a load balancer does not become the
environment's busiest client. A server whose slots are all taken by working sessions is ready without a probe.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openenv.errors import InvalidActionError, OpenEnvError, SessionCapacityError

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

PROBE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ReadyAnswer:
    """What the probe found.

    Attributes:
        ready: whether sessions can be opened.
        detail: one sentence.
    """

    ready: bool
    detail: str


class Readiness:
    """Answers whether the server is ready.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime
        self._answer: ReadyAnswer | None = None
        self._until = 0.0
        self._probing: asyncio.Future[ReadyAnswer] | None = None

    async def check(self) -> ReadyAnswer:
        """Return what is known, or find out."""
        if self._runtime.draining:
            return ReadyAnswer(False, "draining: no new session is accepted")
        if self._answer is not None and time.monotonic() < self._until:
            return self._answer
        return await self._runtime.home.run(self._shared)

    async def _shared(self) -> ReadyAnswer:
        """Wait for the one probe that runs, or start it."""
        if self._probing is None:
            self._probing = asyncio.ensure_future(self._probe())
            self._probing.add_done_callback(self._settle)
        return await asyncio.shield(self._probing)

    def _settle(self, probe: asyncio.Future[ReadyAnswer]) -> None:
        self._probing = None
        if not probe.cancelled() and probe.exception() is None:
            self._answer = probe.result()
            self._until = time.monotonic() + self._runtime.settings.ready_cache_s

    async def _probe(self) -> ReadyAnswer:
        manager = self._runtime.manager
        try:
            hosted = await manager.open(owner="ready", wait=False)
        except SessionCapacityError:
            return ReadyAnswer(not manager.draining, "every session slot is in use")
        except OpenEnvError as error:
            return ReadyAnswer(False, error.message)
        try:
            await asyncio.wait_for(hosted.acall("reset"), PROBE_TIMEOUT_S)
        except InvalidActionError:
            return ReadyAnswer(True, "a session was opened; its reset asks for options")
        except OpenEnvError as error:
            return ReadyAnswer(False, f"reset failed: {error.message}")
        except TimeoutError:
            return ReadyAnswer(False, f"reset took more than {PROBE_TIMEOUT_S:g} s")
        finally:
            await manager.close(hosted.id)
        return ReadyAnswer(True, "a session was opened and reset")
