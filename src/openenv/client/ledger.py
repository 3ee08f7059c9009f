"""What a client knows about its episode, and which calls that knowledge forbids.

The server keeps the rules; a client repeats only those that the server cannot: after a connection was
lost nothing but a reset may be sent, because a step would reach a fresh environment, and after a call
that the client stopped waiting for nobody knows what the episode looks like.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from openenv.errors import OpenEnvError, OrderError, SessionLost
from openenv.types import StepResult


class Standing(StrEnum):
    """Where a client's session stands."""

    NEW = "new"
    """No reset yet."""
    RUNNING = "running"
    ENDED = "ended"
    """The last result was `done`."""
    NEEDS_RESET = "needs_reset"
    """A call timed out or broke the environment; the episode's state is unknown."""
    LOST = "lost"
    """The connection is gone and the episode with it."""
    CLOSED = "closed"


class EpisodeLedger:
    """The episode as its client sees it.

    Args:
        strict: whether a step after the end of the episode is refused here already.

    Attributes:
        standing: where the session stands.
        session: id of the session, if the server told one.
        episode: id of the episode, if known.
        seed: seed of the episode, if known.
        step: steps taken in the episode.
    """

    def __init__(self, *, strict: bool = True, session: str | None = None) -> None:
        self.strict = strict
        self.session = session
        self.standing = Standing.NEW
        self.episode: str | None = None
        self.seed: int | None = None
        self.step = 0
        self._trouble = ""

    def admit(self, call: str) -> None:
        """Check that `call` (`reset`, `step`, `state`, `mcp`) may be sent now.

        Raises:
            OrderError: the client is closed, or the episode needs a reset first.
            SessionLost: the episode is gone.
        """
        standing = self.standing
        if standing is Standing.RUNNING or (call == "reset" and standing is not Standing.CLOSED):
            return
        if standing is Standing.CLOSED:
            raise self._order("This client is closed", expected="nothing", actual=call)
        if standing is Standing.LOST:
            raise self.lost()
        if call != "step":
            return
        if standing is Standing.NEEDS_RESET:
            raise self._order(
                f"The episode's state is unknown ({self._trouble}): call reset() first",
                expected="reset",
                actual=call,
            )
        if standing is Standing.ENDED and self.strict:
            raise self._order(
                f"The episode ended after {self.step} steps: call reset() to start another",
                expected="reset",
                actual=call,
            )

    def began(self, result: StepResult[Any], *, seed: int | None, episode_id: str | None) -> None:
        """Note a reset, and complete its result with what the server did not say."""
        self.seed = result.seed = result.seed if result.seed is not None else seed
        self.episode = result.episode_id = result.episode_id or episode_id
        self.step = result.step = 0
        self.standing = Standing.ENDED if result.done else Standing.RUNNING

    def stepped(self, result: StepResult[Any]) -> None:
        """Note a step, and complete its result with what the server did not say."""
        self.step = result.step = result.step if result.step is not None else self.step + 1
        if result.seed is None:
            result.seed = self.seed
        if result.episode_id is None:
            result.episode_id = self.episode
        else:
            self.episode = result.episode_id
        self.standing = Standing.ENDED if result.done else Standing.RUNNING

    def failed(self, error: OpenEnvError) -> None:
        """Note a call that failed, and tell the error which episode it concerns."""
        if error.episode is None:
            error.episode = self.episode
        if error.step is None and self.standing is not Standing.NEW:
            error.step = self.step
        if error.session is None:
            error.session = self.session
        if error.session_fate == "closed":
            self.lose(error.message)
        elif error.session_fate == "needs_reset":
            self.standing = Standing.NEEDS_RESET
            self._trouble = error.message

    def lose(self, why: str) -> None:
        """Note that the connection is gone."""
        if self.standing is not Standing.CLOSED:
            self.standing = Standing.LOST
            self._trouble = why

    def reopened(self, session: str | None = None) -> None:
        """Note a new connection: a new session that knows nothing of the old episode."""
        self.standing = Standing.NEW
        self.session = session
        self.episode = self.seed = None
        self.step = 0

    def inherit(self, other: EpisodeLedger, why: str) -> None:
        """Take over, as lost, the episode of a ledger whose connection cannot be used any more."""
        self.session, self.episode, self.seed, self.step = (
            other.session,
            other.episode,
            other.seed,
            other.step,
        )
        self.lose(other._trouble if other.standing is Standing.LOST else why)

    def closed(self) -> None:
        """Note that the user closed the client."""
        self.standing = Standing.CLOSED

    def lost(self) -> SessionLost:
        """The error of every call after a loss."""
        begun = "before its first reset" if self.episode is None and not self.step else f"at step {self.step}"
        return SessionLost(
            f"The session was lost {begun}: {self._trouble}. "
            "reset() opens a new session and starts a new episode.",
            session=self.session,
            episode=self.episode,
            step=self.step,
        )

    def _order(self, message: str, *, expected: str, actual: str) -> OrderError:
        return OrderError(
            message,
            expected=expected,
            actual=actual,
            session=self.session,
            episode=self.episode,
            step=self.step,
        )
