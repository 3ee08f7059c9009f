"""What a session has answered to which request, so that a request that comes twice runs once.

Request ids rise over a session's whole life, over all its connections. An id above every one taken so far is
new; one that was taken is answered with what it was answered before, or with what it will be when the call
that still runs has ended; one that is too old for the log is refused, never run again.

Threads: `take` is called where messages are read, `finish` where the session runs or by the watchdog.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from openenv.errors import ReplyGoneError

MOST_REPLIES = 64
"""Replies kept for a session: as many as a connection may leave unanswered."""

MOST_BYTES = 256 * 1024
"""Bytes of replies kept for a session; the last one is kept however long it is."""

Answer = Callable[[bytes], None]


class ReplyLog:
    """A session's replies by request id.

    Args:
        most: replies kept.
        most_bytes: bytes of replies kept.

    Attributes:
        last_id: highest id taken, -1 before the first.
    """

    __slots__ = ("_lock", "_most", "_most_bytes", "_replies", "_size", "_waiting", "last_id")

    def __init__(self, most: int = MOST_REPLIES, most_bytes: int = MOST_BYTES) -> None:
        self.last_id = -1
        self._most = most
        self._most_bytes = most_bytes
        self._replies: dict[int, bytes | None] = {}  # None while the call runs
        self._size = 0
        self._waiting: dict[int, list[Answer]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Requests known: replies kept and calls running."""
        return len(self._replies)

    def claim(self, id: int) -> bool:
        """Take a request if it is new; `take` without an answer for one that is not."""
        with self._lock:
            if id <= self.last_id:
                return False
            self.last_id = id
            self._replies[id] = None
            return True

    def take(self, id: int, answer: Answer) -> bool:
        """Take a request.

        Args:
            id: its id.
            answer: called with the reply if the request was taken before: now, or, in whatever thread, when
                the call that still runs has ended.

        Returns:
            Whether it is new and must be run; `finish` then takes its reply.

        Raises:
            ReplyGoneError: it was taken, or passed over, and nothing is known of it any more.
        """
        with self._lock:
            if id > self.last_id:
                self.last_id = id
                self._replies[id] = None
                return True
            if id not in self._replies:
                raise ReplyGoneError(
                    f"Request {id} is older than the replies kept of this session, which has taken requests "
                    f"up to {self.last_id}; it is not run again"
                )
            reply = self._replies[id]
            if reply is None:
                self._waiting.setdefault(id, []).append(answer)
                return False
        answer(reply)
        return False

    def finish(self, id: int, reply: bytes) -> None:
        """Keep the reply to a request that was taken, and hand it to whoever asked again."""
        replies = self._replies
        with self._lock:
            replies[id] = reply
            self._size += len(reply)
            if len(replies) > self._most or self._size > self._most_bytes:
                self._trim(id)
            waiting = self._waiting.pop(id, ()) if self._waiting else ()
        for answer in waiting:
            answer(reply)

    def _trim(self, newest: int) -> None:
        """Forget the oldest replies. The lock is held."""
        replies, size, count = self._replies, self._size, len(self._replies)
        forgotten = []
        for id, reply in replies.items():
            if count <= self._most and size <= self._most_bytes:
                break
            if reply is not None and id != newest:
                forgotten.append(id)
                size -= len(reply)
                count -= 1
        self._size = size
        for id in forgotten:
            del replies[id]
