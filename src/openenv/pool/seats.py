"""Several sessions of one environment in this process: a worker's share of a pool, or all of it.

`inline` sessions run one after another on the calling thread; others (deadlines, `host="thread"`,
asynchronous environments) run on hosts of their own and answer from there. An environment is built by the
first call of its seat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, cast

from openenv.client.embedded import CLOSE_TIMEOUT_S, HostKind, host_kind, hosted, thread_host
from openenv.errors import InfrastructureError, OpenEnvError
from openenv.pool.calls import Answer, Call
from openenv.session import HostedSession, Limits, LoopHost, Phase, Session
from openenv.session.hosts import Host

if TYPE_CHECKING:
    from openenv.client.loop_thread import LoopThread
    from openenv.environment import EnvironmentSpec

Report = Callable[[int, Answer], None]


class Seats:
    """Sessions by slot.

    Args:
        spec: the environment.
        slots: which slots sit here.
        host: `inline`, `thread`, or None for what the environment and its deadlines need.
        limits: bounds on top of the author's.
        interactive: whether Ctrl-C may raise in the environment's code.

    Attributes:
        inline: whether `run` makes calls on the spot; else `post` makes them elsewhere.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        slots: Iterable[int],
        *,
        host: HostKind | None = None,
        limits: Limits | None = None,
        interactive: bool = False,
    ) -> None:
        self.spec = spec
        self._limits = limits
        self._interactive = interactive
        self._kind = seat_kind(spec, host, limits)
        self.inline = self._kind == "inline"
        self._sessions: dict[int, Session | None] = dict.fromkeys(slots)
        self._hosted: dict[int, HostedSession] = {}
        self._loop: LoopThread | None = None

    def run(self, call: Call) -> Answer:
        """Make a call on this thread."""
        try:
            session = self._sessions[call.slot]
            if session is None:
                session = self._sessions[call.slot] = self._new_session()
            if call.kind == "step":
                if session.phase is Phase.NEW:
                    session.start()
                return session.step(call.action, timeout_s=call.timeout_s)
            return session.reset(seed=call.seed, options=call.options, timeout_s=call.timeout_s)
        except OpenEnvError as error:
            return error

    def post(self, call: Call, report: Report) -> None:
        """Make a call on the session's own host; `report` is called there."""
        session = self._hosted.get(call.slot)
        if session is None:
            session = self._hosted[call.slot] = hosted(self._new_session(), self._host())
        if call.kind == "step" and session.session.phase is Phase.NEW and not session.pending:
            failed = session.call("start").exception()
            if failed is not None:
                report(call.slot, cast(OpenEnvError, failed))
                return

        def prepare() -> tuple[Any, dict[str, Any]]:
            if call.kind == "step":
                return "step", {"action": call.action, "timeout_s": call.timeout_s}
            return "reset", {"seed": call.seed, "options": call.options, "timeout_s": call.timeout_s}

        def done(result: Any, error: OpenEnvError | None) -> None:
            report(call.slot, result if error is None else error)

        session.post(prepare, done)

    def close(self) -> None:
        """Close every environment; one that does not close in time is left behind."""
        for session in self._sessions.values():
            if session is not None:
                session.close()
        closing: dict[Future[Any], HostedSession] = {
            owner.call("close"): owner for owner in self._hosted.values()
        }
        left = wait(closing, CLOSE_TIMEOUT_S).not_done
        for future, owner in closing.items():
            if future in left:
                owner.host.abandon()
            owner.host.stop()
        self._sessions, self._hosted = {}, {}
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _new_session(self) -> Session:
        session = Session(self.spec, limits=self._limits)
        session.interactive = self._interactive
        return session

    def _host(self) -> Host:
        if self._kind != "loop":
            return thread_host(self.spec)
        from openenv.client.loop_thread import LoopThread

        if self._loop is None:
            self._loop = LoopThread("openenv-pool")

        async def make() -> Host:
            return LoopHost()

        return self._loop.run(make())


def seat_kind(spec: EnvironmentSpec, host: HostKind | None, limits: Limits | None) -> str:
    """Where a pool's sessions run in their process: `inline`, `thread` or `loop`."""
    return host_kind(spec, host, (limits or Limits()).within(spec))


def lost_seat(slot: int, why: str) -> InfrastructureError:
    """The error for a session whose process or server went away."""
    from openenv.errors import SessionLost

    return SessionLost(f"slot {slot}: {why}. The slot has a new session, which needs a reset.")
