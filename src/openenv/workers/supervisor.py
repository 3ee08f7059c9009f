"""The process that listens, hands connections to workers and keeps the workers alive.

One thread and one selector. A new connection is watched until its first bytes say where it should go
(`openenv.workers.peek`), for a bounded time; then the socket itself goes to a worker, and no byte of it ever
passes through here. Slots are granted here, so that they are counted once (`openenv.workers.ledger`).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openenv.errors import InfrastructureError
from openenv.server.ports import listen_tcp, listen_unix, url_of
from openenv.workers.channel import Closed, Message
from openenv.workers.crew import Slot, State, Worker, how_it_ended, start
from openenv.workers.ledger import Answer, Ledger, Waiter
from openenv.workers.reception import Reception

logger = logging.getLogger("openenv.workers")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
_HANG_S = 5.0
"""Seconds a worker whose channel ended, or that should have drained, has until it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How many workers, and how they are run.

    Attributes:
        workers: how many.
        command: the program of a worker; the descriptor of its channel is appended.
        config: what every worker is told when it starts.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        uds: path of a Unix socket to bind instead.
        tls: whether the workers speak TLS, so that requests cannot be looked at here.
        cookie: name of the server's session cookie.
        drain_s: seconds that running calls have when the server stops.
        restart_grace_s: seconds that the sessions of a worker have to end by themselves when it is replaced.
    """

    workers: int
    command: Sequence[str]
    config: Mapping[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    tls: bool = False
    cookie: str = ""
    drain_s: float = 10.0
    restart_grace_s: float = 60.0


class Supervisor:
    """Listens, and keeps the workers alive.

    Args:
        settings: how many workers, and how they are run.
        ready: called once, with the server's URL and what the first worker says of itself, when it serves.

    Raises:
        UsageError: the address cannot be bound.
    """

    def __init__(self, settings: WorkerSettings, ready: Callable[[str, Message], None] | None = None) -> None:
        self._settings = settings
        self._ready = ready
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._numbers = itertools.count()
        self._spawned = 0
        self._slots = [Slot() for _ in range(settings.workers)]
        self._workers: dict[int, Worker] = {}
        self._ending: list[Worker] = []
        self._ledger: Ledger | None = None
        self._rolling: deque[Slot] = deque()
        self._incoming: Worker | None = None
        self._outgoing: Worker | None = None
        self._signals: list[int] = []
        self._stopping = False
        self._status = 0
        self._restarts = 0
        if settings.uds is None:
            self._socket = listen_tcp(settings.host, settings.port)
        else:
            self._socket = listen_unix(settings.uds)
        self._socket.setblocking(False)
        self._config = {**settings.config, "socket_file": _identity(settings.uds)}
        self.url = url_of(self._socket, "https" if settings.tls else "http")
        self._reception = Reception(self, self._selector, tls=settings.tls, cookie=settings.cookie)

    # Life --------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP replaces the workers one after another.

        Returns:
            The exit status: 0, or that of a first worker that could not start.

        Raises:
            InfrastructureError: the first worker was killed before it served.
        """
        with self._catching_signals():
            try:
                self._start(self._slots[0])
                while not (self._stopping and not self._workers and not self._ending):
                    self._turn()
            finally:
                self._clean_up()
        if self._status < 0:
            raise InfrastructureError(f"The first worker was killed by signal {-self._status} as it started.")
        return self._status

    @contextlib.contextmanager
    def _catching_signals(self) -> Any:
        hear, speak = socket.socketpair()
        hear.setblocking(False)
        speak.setblocking(False)
        self._selector.register(hear, selectors.EVENT_READ, lambda _: self._on_signals(hear))
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(speak.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            hear.close()
            speak.close()

    def _on_signals(self, hear: socket.socket) -> None:
        for number in hear.recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stop()
            elif number == signal.SIGHUP:
                self.roll()

    def _turn(self) -> None:
        now = time.monotonic()
        timeout = max(self._timers[0][0] - now, 0.0) if self._timers else None
        for key, mask in self._selector.select(timeout):
            key.data(mask)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after some seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._sequence), action))

    def stop(self) -> None:
        """Let every worker drain; the second time, end them."""
        if self._stopping:
            self._kill_all()
            return
        self._stopping = True
        self._close_socket()
        self._reception.close()
        for worker in self._workers.values():
            worker.terminate()
        patience = self._settings.drain_s + 2 * _HANG_S
        self.later(patience, self._kill_all)

    def _kill_all(self) -> None:
        for worker in [*self._workers.values(), *self._ending]:
            worker.kill()

    def roll(self) -> None:
        """Replace the workers, one after another, by ones that load the code as it is now."""
        if not self._stopping and not self._rolling and self._incoming is None and self._outgoing is None:
            self._rolling = deque(slot for slot in self._slots if slot.worker is not None)
            self._roll_on()

    def _roll_on(self) -> None:
        busy = self._stopping or self._incoming is not None or self._outgoing is not None
        if not busy and self._rolling:
            self._incoming = self._start(self._rolling.popleft(), replacing=True)

    def _close_socket(self) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._socket)
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        if self._settings.uds is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._settings.uds)

    def _clean_up(self) -> None:
        self._close_socket()
        self._reception.close()
        for worker in [*self._workers.values(), *self._ending]:
            worker.kill()
            worker.process.wait()
            worker.channel.close()
        self._selector.close()

    # Workers -----------------------------------------------------------------------------------------

    def _start(self, slot: Slot, *, replacing: bool = False) -> Worker:
        number = next(self._numbers)
        self._spawned = number + 1
        worker = start(self._settings.command, number, slot, self._config)
        if not replacing:
            slot.worker = worker
        self._workers[number] = worker
        self._selector.register(worker.channel, selectors.EVENT_READ, lambda mask: self._hear(worker, mask))
        return worker

    def _hear(self, worker: Worker, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                worker.channel.flush()
                if not worker.channel.waiting:
                    self._selector.modify(worker.channel, selectors.EVENT_READ, self._selector_data(worker))
            while worker.number in self._workers and (received := worker.channel.receive()) is not None:
                self._obey(worker, *received)
        except Closed:
            self._gone(worker)

    def _selector_data(self, worker: Worker) -> Callable[[int], None]:
        return lambda mask: self._hear(worker, mask)

    def tell(self, worker: Worker, message: Message, *files: socket.socket) -> None:
        """Send a message to a worker; if it is gone, so are the files."""
        try:
            worker.channel.send(message, files)
        except Closed:
            # Its end of the channel is noticed once: when the selector reads it.
            for one in files:
                one.close()
            self.later(0.0, lambda: self._gone(worker))
            return
        if worker.channel.waiting:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(worker.channel, both, self._selector_data(worker))

    def _gone(self, worker: Worker) -> None:
        """A worker's channel ended: take back what it held and see to a successor."""
        if self._workers.pop(worker.number, None) is None:
            return
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(worker.channel)
        worker.channel.close()
        if self._ledger is not None:
            self._grant(self._ledger.forget(worker.number))
        self._bury(worker)
        self._ending.append(worker)
        self._await_end(worker, time.monotonic() + _HANG_S)

    def _bury(self, worker: Worker) -> None:
        slot = worker.slot
        slot.graves.update(worker.graves)
        if slot.worker is not None and slot.worker is not worker and slot.worker.state is not State.STARTING:
            self._tell_graves(slot.worker)

    def _tell_graves(self, worker: Worker) -> None:
        graves = list(worker.slot.graves.items())
        worker.slot.graves.clear()
        worker.graves.update(graves)
        for at in range(0, len(graves), 256):
            self.tell(worker, {"do": "bury", "graves": graves[at : at + 256]})

    def _await_end(self, worker: Worker, deadline: float) -> None:
        if worker.process.poll() is None:
            if time.monotonic() > deadline:
                worker.kill()
            self.later(0.02, lambda: self._await_end(worker, deadline))
            return
        self._ending.remove(worker)
        self._ended(worker)

    def _ended(self, worker: Worker) -> None:
        self._announce()
        if self._stopping:
            return
        lived = time.monotonic() - worker.started_at
        if worker is self._outgoing:
            self._outgoing = None
            self._roll_on()
        elif worker is self._incoming:
            self._incoming = None
            self._rolling.clear()
            logger.error("worker %d %s: the restart is off", worker.number, how_it_ended(worker.process))
        elif self._ledger is None:
            self._status = worker.process.returncode or 1
            self.stop()
        elif worker.slot.worker is worker:
            worker.slot.worker = None
            self._restarts += 1
            delay = worker.slot.delay_s(lived)
            text = "worker %d %s: its sessions are lost, a new worker starts in %g s"
            logger.error(text, worker.number, how_it_ended(worker.process), delay)
            self.later(delay, lambda: self._restart(worker.slot))

    def _restart(self, slot: Slot) -> None:
        if not self._stopping and slot.worker is None:
            self._start(slot)

    def _announce(self) -> None:
        """Tell every worker who is there."""
        alive = [worker.number for worker in self._workers.values() if worker.state is not State.STARTING]
        message = {
            "do": "crew",
            "alive": alive,
            "spawned": self._spawned,
            "wanted": self._settings.workers,
            "restarts": self._restarts,
        }
        for worker in list(self._workers.values()):
            self.tell(worker, message)

    @property
    def listener(self) -> socket.socket:
        """The listening socket."""
        return self._socket

    def listen(self) -> None:
        """Accept connections from now on."""
        if not self._stopping:
            self._selector.register(self._socket, selectors.EVENT_READ, lambda _: self._reception.accept())

    def workers(self) -> list[Worker]:
        """The workers that serve, those that retire included."""
        return [worker for worker in self._workers.values() if worker.state is not State.STARTING]

    @property
    def slots(self) -> list[Slot]:
        """The workers' places."""
        return self._slots

    def load(self, worker: Worker) -> int:
        """How many sessions a worker has, or is about to have."""
        return (self._ledger.held(worker.number) if self._ledger is not None else 0) + worker.expected

    # What workers say --------------------------------------------------------------------------------

    def _obey(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        action = getattr(self, f"_do_{message['do']}")
        action(worker, message, files)

    def _do_ready(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        worker.state = State.READY
        if self._ledger is None:
            self._ledger = Ledger(message["max_sessions"], message["queue_size"])
            self.listen()
            for slot in self._slots[1:]:
                self._start(slot)
            if self._ready is not None:
                self._ready(self.url, message)
        if worker is self._incoming:
            self._incoming, self._outgoing = None, worker.slot.worker
            worker.slot.worker = worker
            if self._outgoing is None:
                self._roll_on()
            else:
                self._retire(self._outgoing)
        self._tell_graves(worker)
        self._announce()
        self._reception.retry()

    def _retire(self, worker: Worker) -> None:
        worker.state = State.RETIRING
        self.tell(worker, {"do": "retire", "grace_s": self._settings.restart_grace_s})

    def _do_leaving(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        """A worker drains of its own accord: somebody told it to."""
        worker.state = State.RETIRING

    def _do_take(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        worker.arrived()
        if self._ledger is None:
            return
        waiter = Waiter(worker.number, message["number"])
        answer = self._ledger.take(waiter, message["wait"])
        self._answer(worker, waiter, answer)
        if answer is Answer.QUEUED:
            self._seek_room(message["client"], [one.number for one in self.workers()])

    def _answer(self, worker: Worker, waiter: Waiter, answer: Answer) -> None:
        ledger = self._ledger
        if ledger is not None:
            self.tell(
                worker,
                {"do": "slot", "number": waiter.number, "answer": answer, "active": ledger.active},
            )

    def _seek_room(self, client: str | None, numbers: list[int]) -> None:
        """Ask worker after worker to give up a session that nobody named, for somebody who waits."""
        while numbers:
            worker = self._workers.get(numbers.pop(0))
            if worker is not None:
                self.tell(worker, {"do": "room", "client": client, "left": numbers})
                return

    def _do_room(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        if not message["freed"]:
            self._seek_room(message["client"], message["left"])

    def _do_cancel(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        if self._ledger is not None:
            self._ledger.cancel(Waiter(worker.number, message["number"]))

    def _do_give(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        if self._ledger is not None and (waiter := self._ledger.give_back(worker.number)) is not None:
            self._grant([waiter])

    def _grant(self, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            worker = self._workers.get(waiter.worker)
            if worker is not None:
                self._answer(worker, waiter, Answer.GRANTED)

    def _do_http(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        worker.remember_session(message["session"], message["address"])

    def _do_peer(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        """A worker wants to pass a request on to another."""
        owner = self._workers.get(message["owner"])
        if owner is None or owner.state is State.STARTING:
            self.tell(worker, {"do": "peer", "number": message["number"]})
            return
        one, other = socket.socketpair()
        self.tell(owner, {"do": "connection", "peer": True}, one)
        self.tell(worker, {"do": "peer", "number": message["number"]}, other)

    def _do_connection(self, worker: Worker, message: Message, files: list[socket.socket]) -> None:
        """A worker that drains gives back a connection it just got."""
        for one in files:
            self._reception.take(one)


def _identity(path: str | None) -> list[Any] | None:
    """A file's path and what tells it from another one that takes its place."""
    if path is None:
        return None
    status = os.stat(path)
    return [os.path.abspath(path), status.st_dev, status.st_ino]
