"""A session runs one environment: every rule about episodes stands here, once.

The rules are written as generators (`_reset`, `_step`): they yield each call into the environment's
code and are sent what it returned. The synchronous face runs such a call on the spot, the asynchronous
face awaits it, and both obey the same rules. A session does not choose its thread: whoever hosts it
(`openenv.session.hosts`) calls it where its environment lives, one call at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openenv.environment import EnvironmentSpec
from openenv.errors import (
    EnvironmentCrashedError,
    OpenEnvError,
    OrderError,
    StepTimeoutError,
    UsageError,
)
from openenv.session.closing import close_after, close_environment
from openenv.session.deadline import WATCHDOG, Abandoned, Call, Interrupted
from openenv.session.driving import Flow, adrive, drive, is_own_cancellation, resolve
from openenv.session.limits import Limits
from openenv.session.phase import Phase, order_error
from openenv.session.rules import EpisodeRules
from openenv.types import StepOutcome, StepResult

logger = logging.getLogger("openenv.session")

Observer = Callable[[str, StepOutcome, float], None]
_CANCEL_GRACE_S = 0.1


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """A session's counts so far.

    Attributes:
        phase: where it stands.
        episodes: resets that succeeded.
        steps: steps that ran, over all episodes.
        outcomes: calls by outcome.
    """

    phase: Phase
    episodes: int
    steps: int
    outcomes: dict[str, int]


class Session(EpisodeRules):
    """One environment instance with its episode, deadlines, seed and limits.

    Args:
        spec: the environment.
        id: name of the session; made up if absent.
        limits: bounds on top of those the author declared.
        auto_reset: a step in phase `new` resets first (tool sessions of agents, who cannot reset).
        observer: called after each call with its name, outcome and duration in seconds.

    Attributes:
        id: name of the session.
        spec: the environment.
        limits: the bounds in force.
        phase: where it stands.
        episode: the current episode, None before the first reset.
        status: how the current episode stands.
        created_at: `time.monotonic()` of its creation.
        last_activity: `time.monotonic()` of the last call's start or end.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        *,
        id: str | None = None,
        limits: Limits | None = None,
        auto_reset: bool = False,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(spec, id=id, limits=limits, auto_reset=auto_reset)
        self.created_at = self.last_activity = time.monotonic()
        self.current_call: Call | None = None
        self.watched_until = float("inf")
        self.stoppable = False
        """Whether the host can abandon a call; set by hosts that give the session its own thread."""
        self.cancellable = False
        """Whether calls without a deadline can be cancelled, too, at a small price for each."""
        self.on_abandon: Callable[[], None] | None = None
        """What the host does when a call was abandoned, before the caller is answered."""
        self._observer = observer
        self._busy = ""
        self._outcomes: Counter[str] = Counter()

    # Synchronous face ------------------------------------------------------------------------------

    def start(self) -> None:
        """Build the environment. Called once, where the environment will live.

        Raises:
            EnvironmentFactoryError: its constructor raised.
        """
        if self._env is None:
            self._env = self.spec.make()

    def reset(
        self,
        *,
        seed: int | None = None,
        episode_id: str | None = None,
        options: dict[str, Any] | None = None,
        timeout_s: float | None = None,
        on_expiry: Callable[[StepTimeoutError], None] | None = None,
    ) -> StepResult[Any]:
        """Start an episode.

        Args:
            seed: seed of the episode's generators; a random one is drawn if absent.
            episode_id: name of the episode; made up if absent.
            options: further arguments of the environment's `reset`.
            timeout_s: deadline in seconds; the tighter of it and the session's own holds.
            on_expiry: called, in another thread, with the error if the deadline passes.

        Raises:
            InvalidActionError: an option does not fit.
            EnvironmentFailedError: the environment raised.
            OrderError: the session is closed or busy.
        """
        flow = self._reset(seed, episode_id, options or {})
        return self._run("reset", flow, self._deadline(timeout_s, self.limits.reset_timeout_s), on_expiry)

    def step(
        self,
        action: Any,
        *,
        timeout_s: float | None = None,
        extra: dict[str, Any] | None = None,
        on_expiry: Callable[[StepTimeoutError], None] | None = None,
    ) -> StepResult[Any]:
        """Take a step.

        Args:
            action: an action model or its fields as a dict.
            timeout_s: deadline in seconds; the tighter of it and the session's own holds.
            extra: further keyword arguments for a `step` that takes them.
            on_expiry: called, in another thread, with the error if the deadline passes.

        Raises:
            InvalidActionError: the action does not fit the schema; nothing ran.
            OrderError: no episode is running.
            EnvironmentFailedError: the environment raised; the session goes on.
        """
        timeout_s = self._deadline(timeout_s, self.limits.step_timeout_s)
        flow = self._step(action, timeout_s, extra or {})
        return self._run("step", flow, timeout_s, on_expiry)

    def state(self) -> Any:
        """The environment's public state: a model or a dict."""
        return self.ask("state", lambda env: self.spec.read_state(env))

    def ask(self, name: str, question: Callable[[Any], Any]) -> Any:
        """Put a question to the environment that changes nothing (state, tools, tasks, metadata).

        Args:
            name: what is asked, for error messages.
            question: called with the environment.
        """
        self._enter(name)
        try:
            return resolve(question(self._environment(name)))
        except (OpenEnvError, Abandoned, Interrupted):
            raise
        except BaseException as problem:  # Boundary: the environment's own code.
            raise self._failed(name, problem) from problem
        finally:
            self._leave()

    def running(self) -> Call | None:
        """The call that runs, or ran last, if it is one that can be cancelled. From any thread."""
        return self.current_call

    def cancel(self, call: Call) -> bool:
        """Stop a call; it is answered with `CallCancelledError`. From any thread.

        Args:
            call: what `running` returned.

        Returns:
            Whether it is still running; it may end by itself before it is stopped.
        """
        return WATCHDOG.cancel(self, call)

    def close(self) -> None:
        """Close the environment. Never raises; a second call does nothing."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        env, self._env = self._env, None
        if env is not None:
            close_environment(env, f"session {self.id[:8]}")

    async def aclose(self) -> None:
        """`close`, awaiting an asynchronous `close` of the environment."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        env, self._env = self._env, None
        close = getattr(env, "close", None)
        try:
            answer = close() if close is not None else None
            if inspect.isawaitable(answer):
                await answer
        except Exception:  # Boundary: the environment's own code.
            logger.warning("close() of the environment of session %s raised", self.id[:8], exc_info=True)

    def statistics(self) -> SessionStatistics:
        """Counts so far."""
        return SessionStatistics(self.phase, self._episodes, self._steps, dict(self._outcomes))

    # Asynchronous face: for environments whose methods are coroutines ---------------------------------

    async def areset(
        self,
        *,
        seed: int | None = None,
        episode_id: str | None = None,
        options: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> StepResult[Any]:
        """`reset`, awaiting the environment on the running loop."""
        flow = self._reset(seed, episode_id, options or {})
        return await self._arun("reset", flow, self._deadline(timeout_s, self.limits.reset_timeout_s))

    async def astep(
        self, action: Any, *, timeout_s: float | None = None, extra: dict[str, Any] | None = None
    ) -> StepResult[Any]:
        """`step`, awaiting the environment on the running loop."""
        timeout_s = self._deadline(timeout_s, self.limits.step_timeout_s)
        return await self._arun("step", self._step(action, timeout_s, extra or {}), timeout_s)

    async def aask(self, name: str, question: Callable[[Any], Any]) -> Any:
        """`ask`, awaiting the answer if it is awaitable."""
        self._enter(name)
        try:
            answer = question(self._environment(name))
            return await answer if inspect.isawaitable(answer) else answer
        except OpenEnvError:
            raise
        except BaseException as problem:  # Boundary: the environment's own code.
            if is_own_cancellation(problem):
                raise
            raise self._failed(name, problem) from problem
        finally:
            self._leave()

    # Running them ------------------------------------------------------------------------------------

    def _deadline(self, asked: float | None, own: float | None) -> float | None:
        if asked is None:
            return own
        if not asked > 0:
            raise UsageError(f"timeout_s: expected a number of seconds above 0, got {asked!r}")
        return asked if own is None else min(asked, own)

    def _enter(self, name: str) -> None:
        if self._busy:
            raise self._placed(
                OrderError(
                    f"{name}() while {self._busy}() is running: calls of a session are made one at a time",
                    expected="one call at a time",
                    actual=name,
                )
            )
        if self.phase is Phase.CLOSED:
            raise self._placed(order_error(self.phase, name))
        self._busy = name
        self.last_activity = time.monotonic()

    def _leave(self) -> None:
        self._busy = ""
        self.last_activity = time.monotonic()

    def _run(
        self,
        name: str,
        flow: Flow,
        timeout_s: float | None,
        on_expiry: Callable[[StepTimeoutError], None] | None,
    ) -> StepResult[Any]:
        self._enter(name)
        started = self.last_activity
        call = None
        try:
            if timeout_s is not None:
                call = self._watch(name, timeout_s, on_expiry)
            elif self.cancellable and on_expiry is not None:
                call = self._watch(name, math.inf, on_expiry)
            result = drive(name, flow, self._failed, self.spec, call)
            if call is not None:
                call.finish()
        except Abandoned:
            raise  # answered, and it carries what is to be closed
        except BaseException as problem:
            if call is not None:
                if call.expired:
                    # The interrupt may have landed anywhere; this call is over and answered.
                    raise call.abandoned() from None
                call.finish()
            raise self._conclude(name, problem, started) from problem.__cause__
        self._done(name, result.outcome, started)
        return result

    async def _arun(self, name: str, flow: Flow, timeout_s: float | None) -> StepResult[Any]:
        self._enter(name)
        started = self.last_activity
        try:
            if timeout_s is None:
                result = await self._adrive(name, flow)
            else:
                result = await self._adrive_until(name, flow, timeout_s)
        except BaseException as problem:
            raise self._conclude(name, problem, started) from problem.__cause__
        self._done(name, result.outcome, started)
        return result

    async def _adrive(self, name: str, flow: Flow) -> StepResult[Any]:
        generation = self._generation
        return await adrive(name, flow, self._failed, lambda: self._generation != generation)

    async def _adrive_until(self, name: str, flow: Flow, timeout_s: float) -> StepResult[Any]:
        task = asyncio.ensure_future(self._adrive(name, flow))
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        env = self._discard_environment()
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_GRACE_S)
        task.add_done_callback(lambda finished: close_after(finished, env, f"session {self.id[:8]}"))
        raise Call(timeout_s, lambda _: None).error(name)

    # Deadlines of the synchronous face ----------------------------------------------------------------

    def _watch(
        self, name: str, timeout_s: float, on_expiry: Callable[[StepTimeoutError], None] | None
    ) -> Call:
        if not self.stoppable or on_expiry is None:
            raise self._placed(
                UsageError(
                    f"{name}(timeout_s={timeout_s:g}): this session runs in its caller's thread, where "
                    "nothing can be stopped; give it its own with host='thread'"
                )
            )

        def expired(call: Call) -> Any:
            error = self._placed(call.error(name))
            env = self._discard_environment()
            self.current_call = None
            self._done(name, StepOutcome.TIMEOUT, started)
            if self.on_abandon is not None:
                self.on_abandon()
            on_expiry(error)
            return env

        started = self.last_activity
        call = Call(timeout_s, expired)
        WATCHDOG.watch(self, call)
        return call

    def _environment(self, name: str) -> Any:
        if self._env is None:
            raise self._placed(order_error(self.phase, name))
        return self._env

    def _conclude(self, name: str, problem: BaseException, started: float) -> BaseException:
        """Record a call that failed and return what to raise."""
        if isinstance(problem, EnvironmentCrashedError):
            self._discard_environment()
        if isinstance(problem, OpenEnvError):
            self._done(name, problem.outcome, started)
            return self._placed(problem)
        self._leave()
        return problem

    def _done(self, name: str, outcome: StepOutcome, started: float) -> None:
        self._leave()
        self._outcomes[outcome._value_] += 1  # `.value` is a Python-level descriptor, four times as slow
        if self._observer is not None:
            self._observer(name, outcome, self.last_activity - started)
