"""A worker's end of the channel to the supervisor: slots, connections, and the way to other workers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from openenv.errors import OpenEnvError, SessionCapacityError, SessionLost, SessionNotFoundError
from openenv.session.names import suffix_of, worker_of
from openenv.workers.channel import Channel, Closed, Message
from openenv.workers.ledger import Answer

logger = logging.getLogger("openenv.workers")

_PEER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What a worker does when the supervisor says so.

    Attributes:
        connection: serve a connection; the second argument says whether another worker made it.
        retire: end when the sessions have, after so many seconds at the latest.
        bury: note that these sessions of plain HTTP clients are lost.
        make_room: give up a session that nobody named, if there is one; returns whether there was.
        orphaned: the supervisor is gone.
    """

    connection: Callable[[socket.socket, bool], None]
    retire: Callable[[float], None]
    bury: Callable[[list[tuple[str, str | None]]], None]
    make_room: Callable[[str | None], Awaitable[bool]]
    orphaned: Callable[[], None]


class Link:
    """The channel as a worker uses it. Belongs to the worker's event loop, `missing` excepted.

    Args:
        channel: our end.
        number: the worker's number.
        max_sessions: slots of all workers together.
        queue_timeout_s: seconds that a caller waits for one.

    Attributes:
        number: the worker's number.
        suffix: what the ids of its sessions end in.
        alive: numbers of the workers that serve.
        crew: what the supervisor said last of all workers.
    """

    def __init__(self, channel: Channel, number: int, max_sessions: int, queue_timeout_s: float) -> None:
        self.number = number
        self.suffix = suffix_of(number)
        self.alive: frozenset[int] = frozenset({number})
        self.crew: Message = {"spawned": number + 1, "wanted": 1, "restarts": 0}
        self._channel = channel
        self._max_sessions = max_sessions
        self._queue_timeout_s = queue_timeout_s
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._queued = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False

    def start(self, duties: Duties) -> None:
        """Listen to the supervisor on the running loop."""
        self._duties = duties
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel.fileno(), self._hear)

    def stop(self) -> None:
        """Listen no longer."""
        if not self._gone:
            self._gone = True
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()

    def tell(self, message: Message, *files: socket.socket) -> None:
        """Send the supervisor a message; if it is gone, nobody hears it."""
        if self._gone:
            return
        try:
            self._channel.send(message, files)
        except Closed:
            self._orphaned()
            return
        if self._channel.waiting:
            self._loop.add_writer(self._channel.fileno(), self._flush)

    def _flush(self) -> None:
        try:
            self._channel.flush()
        except Closed:
            self._orphaned()
            return
        if not self._channel.waiting:
            self._loop.remove_writer(self._channel.fileno())

    def _orphaned(self) -> None:
        if self._gone:
            return
        self._gone = True
        for remove in (self._loop.remove_reader, self._loop.remove_writer):
            remove(self._channel.sock)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(self._refusal(0))
        self._duties.orphaned()

    def _hear(self) -> None:
        try:
            while not self._gone and (received := self._channel.receive()) is not None:
                self._obey(*received)
        except Closed:
            self._orphaned()

    def _obey(self, message: Message, files: list[socket.socket]) -> None:
        do = message["do"]
        if do == "connection":
            self._duties.connection(files[0], bool(message.get("peer")))
        elif do == "slot":
            self._answer(message)
        elif do == "peer":
            self._peer(message["number"], files)
        elif do == "crew":
            self.crew = message
            self.alive = frozenset(message["alive"]) | {self.number}
        elif do == "retire":
            self._duties.retire(message["grace_s"])
        elif do == "bury":
            self._duties.bury([(session, address) for session, address in message["graves"]])
        elif do == "room":
            task = self._loop.create_task(self._make_room(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _make_room(self, message: Message) -> None:
        freed = await self._duties.make_room(message["client"])
        self.tell({"do": "room", "freed": freed, "client": message["client"], "left": message["left"]})

    # Slots (`openenv.session.slots.SharedSlots`) -------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Callers in this worker that wait for a slot."""
        return self._queued

    async def take(self, wait: bool, client: str | None) -> None:
        """Take a slot, or wait for one.

        Raises:
            SessionCapacityError: there is none, or none in time.
        """
        number = next(self._numbers)
        future: asyncio.Future[Message] = self._loop.create_future()
        self._asked[number] = future
        self.tell({"do": "take", "number": number, "wait": wait, "client": client})
        if self._gone:
            del self._asked[number]
            raise self._refusal(0)
        try:
            answer = await future
        except asyncio.CancelledError:
            self._give_up(number, future)
            raise
        if answer["answer"] == Answer.REFUSED:
            raise self._refusal(answer["active"])

    def _give_up(self, number: int, future: asyncio.Future[Message]) -> None:
        """Nobody wants that slot any more."""
        granted = future.done() and not future.cancelled() and future.exception() is None
        if granted and future.result()["answer"] == Answer.GRANTED:
            self.give_back()
        elif self._asked.pop(number, None) is not None:
            self.tell({"do": "cancel", "number": number})

    def _answer(self, message: Message) -> None:
        number, answer = message["number"], message["answer"]
        future = self._asked.get(number)
        if answer == Answer.QUEUED:
            self._loop.call_later(self._queue_timeout_s, self._expire, number, message)
            self._queued += future is not None and not future.done()
            if future is not None:
                future.add_done_callback(self._unqueue)
            return
        self._asked.pop(number, None)
        if future is not None and not future.done():
            future.set_result(message)
        elif answer == Answer.GRANTED:
            self.give_back()

    def _unqueue(self, _: asyncio.Future[Message]) -> None:
        self._queued -= 1

    def _expire(self, number: int, message: Message) -> None:
        future = self._asked.pop(number, None)
        if future is not None and not future.done():
            self.tell({"do": "cancel", "number": number})
            future.set_result({**message, "answer": Answer.REFUSED})

    def give_back(self) -> None:
        """Give a slot back."""
        self.tell({"do": "give"})

    def _refusal(self, active: int) -> SessionCapacityError:
        if self._gone:
            text = "The server is shutting down and accepts no new sessions."
            return SessionCapacityError(active, self._max_sessions, text)
        return SessionCapacityError(active, self._max_sessions, retry_after=1.0 + 0.1 * len(self._asked))

    def missing(self, session_id: str) -> OpenEnvError:
        """The error for a session that is not here: never was, or was lost with its worker."""
        owner = worker_of(session_id)
        if owner is None or owner in self.alive or owner >= self.crew["spawned"]:
            return SessionNotFoundError(session_id)
        return lost(session_id)

    # Other workers -----------------------------------------------------------------------------------

    def elsewhere(self, session_id: str | None) -> int | None:
        """The other worker that a session lives in; None if it is ours, nobody's, or lost."""
        owner = worker_of(session_id) if session_id is not None else None
        return owner if owner != self.number and owner in self.alive else None

    async def connect(self, owner: int) -> socket.socket | None:
        """A connection to another worker; None if it is gone."""
        number = next(self._numbers)
        future: asyncio.Future[socket.socket | None] = self._loop.create_future()
        self._asked[number] = future
        self.tell({"do": "peer", "number": number, "owner": owner})
        try:
            return await asyncio.wait_for(future, _PEER_TIMEOUT_S)
        except (TimeoutError, OpenEnvError):
            return None
        finally:
            self._asked.pop(number, None)

    def _peer(self, number: int, files: list[socket.socket]) -> None:
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_result(files.pop() if files else None)
        for one in files:
            one.close()


def lost(session_id: str) -> SessionLost:
    """The error for a session whose worker died."""
    return SessionLost(
        f"Session {session_id} was lost: the worker process that it lived in is gone, and its episode with "
        "it. Open a new session and reset",
        session=session_id,
    )
