"""The rules of an episode: what reset and step do, in which phase, and how an episode ends.

`_reset` and `_step` are generators that yield each call into the environment's code
(`openenv.session.driving` runs them). All semantics of order, seeds, tasks, limits and outcomes stand
here; doors and hosts know none of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar, cast

from openenv.environment import EnvironmentSpec, Episode, Transition
from openenv.errors import EnvironmentFailedError, OpenEnvError
from openenv.session.driving import Flow, Thunk, off_the_loop
from openenv.session.limits import Limits
from openenv.session.phase import Phase, order_error
from openenv.types import EpisodeStatus, StepOutcome, StepResult

logger = logging.getLogger("openenv.session")
ErrorT = TypeVar("ErrorT", bound=OpenEnvError)


class EpisodeRules:
    """One environment, its episode and the rules between them. `Session` adds the ways to call it."""

    def __init__(
        self, spec: EnvironmentSpec, *, id: str | None, limits: Limits | None, auto_reset: bool
    ) -> None:
        self.id = id or uuid.uuid4().hex
        self.spec = spec
        self.limits = (limits or Limits()).within(spec)
        self.phase = Phase.NEW
        self.episode: Episode | None = None
        self.status = EpisodeStatus.RUNNING
        self.interactive = True
        """Whether Ctrl-C may raise in the main thread; servers handle the signal."""
        self._auto_reset = auto_reset
        self._env: Any = None
        self._generation = 0
        self._episode_started = 0.0
        self._episodes = 0
        self._steps = 0

    def _reset(self, seed: int | None, episode_id: str | None, options: dict[str, Any]) -> Flow:
        spec = self.spec
        if self._env is None:
            self._env = yield spec.make
        env = self._env
        options = dict(options)
        # A published environment sees a seed or an episode id only if the caller gave one.
        own_words = spec.native
        used_seed = seed if seed is not None else _drawn_seed()
        episode = Episode(id=episode_id or uuid.uuid4().hex, seed=used_seed)
        if spec.tasks is not None:
            task = yield lambda: _choose_task(spec, used_seed, options)
            episode.task, episode.split = task, task.split
        before = self.phase
        spec.begin(env, episode)
        try:
            call = partial(
                spec.call_reset,
                env,
                seed=episode.seed if own_words else seed,
                episode_id=episode.id if own_words else episode_id,
                options=options,
            )
            raw = yield off_the_loop(call) if spec.is_async and not spec.async_reset else call
            transition: Transition = yield lambda: spec.initial(env, raw)
        except OpenEnvError as error:
            if error.outcome is not StepOutcome.INVALID_ACTION:
                self._spoil(before)
            raise
        self.episode = episode
        self.phase = Phase.ENDED if transition.done else Phase.READY
        self.status = EpisodeStatus.RUNNING
        self._episode_started = time.monotonic()
        self._episodes += 1
        result = self._result(transition)
        if not own_words:
            result.seed, result.episode_id = seed, episode_id
        return result

    def _spoil(self, before: Phase) -> None:
        """Forget the episode after a reset that failed half-way."""
        self.episode = None
        self.phase = Phase.NEW if before is Phase.NEW else Phase.NEEDS_RESET
        self.status = EpisodeStatus.UNSCORED

    def _step(self, action: Any, timeout_s: float | None, extra: dict[str, Any]) -> Flow:
        if self.phase is not Phase.READY:
            yield from self._make_ready()
        spec, env, episode = self.spec, self._env, cast(Episode, self.episode)
        parsed = spec.validate_action(action)
        before = episode.step
        try:
            call = partial(spec.call_step, env, parsed, timeout_s=timeout_s, extra=extra)
            raw = yield off_the_loop(call) if spec.is_async and not spec.async_step else call
            limit = self._count(episode)
            transition: Transition = yield lambda: spec.transition(env, parsed, raw, limit=limit)
        except OpenEnvError as error:
            self._count_failure(episode, before, error)
            raise
        return self._result(transition)

    def _count(self, episode: Episode) -> str | None:
        """Count a step that the environment was asked to do; return the limit that it reached."""
        episode.step += 1
        self._steps += 1
        return self._limit_reached(episode)

    def _count_failure(self, episode: Episode, before: int, error: OpenEnvError) -> None:
        """Count a step that raised, lest an environment that moves before it raises gives moves away."""
        if episode.step > before:
            limit = self._limit_reached(episode)
        elif error.outcome is StepOutcome.INVALID_ACTION:
            return  # refused by the environment itself, which says with it that nothing changed
        else:
            limit = self._count(episode)
        if limit is not None:
            self.phase, self.status = Phase.ENDED, EpisodeStatus.TRUNCATED
            error.data["truncated"] = limit

    def _make_ready(self) -> Generator[Thunk, Any, None]:
        """What a step does when no episode runs: start one where that is allowed, else refuse."""
        if self.phase is Phase.NEW and self._auto_reset:
            yield from self._reset(None, None, {})
        elif self.phase is Phase.NEW and not self.spec.requires_reset:
            self.episode = Episode(id=uuid.uuid4().hex, seed=_drawn_seed())
            self._episode_started = time.monotonic()
            self.spec.begin(self._env, self.episode)
            self.phase = Phase.READY
        if self.phase is not Phase.READY:
            detail = ""
            if self.episode is not None and self.phase is Phase.ENDED:
                detail = f"{self.status} after {self.episode.step} steps"
            raise self._placed(order_error(self.phase, "step", detail=detail))

    def _result(self, transition: Transition) -> StepResult[Any]:
        episode = cast(Episode, self.episode)
        if transition.done:
            self.phase = Phase.ENDED
            self.status = EpisodeStatus.TRUNCATED if transition.truncated else EpisodeStatus.TERMINATED
        return StepResult(
            transition.observation,
            transition.reward,
            self.phase is Phase.ENDED,
            transition.metadata or None,
            transition.outcome,
            self.status,
            transition.reason,
            transition.components,
            episode.seed,
            episode.id,
            episode.step,
        )

    def _limit_reached(self, episode: Episode) -> str | None:
        """The limit that the step just taken has reached, as the reason of the truncation."""
        steps, seconds = self.limits.max_steps, self.limits.episode_timeout_s
        if steps is not None and episode.step >= steps:
            return "max_steps"
        if seconds is not None and time.monotonic() - self._episode_started >= seconds:
            return "time_limit"
        return None

    def _discard_environment(self) -> Any:
        """Give the environment up after a deadline; the next reset builds another."""
        env, self._env = self._env, None
        self._generation += 1
        self.phase = Phase.NEEDS_RESET
        self.status = EpisodeStatus.UNSCORED
        return env

    def _failed(self, name: str, problem: BaseException) -> EnvironmentFailedError:
        if isinstance(problem, KeyboardInterrupt) and self.interactive and _in_main_thread():
            raise problem  # Ctrl-C, which is not the environment's
        error = EnvironmentFailedError(_text(problem))
        error.data["exception"] = type(problem).__name__
        error.__cause__ = problem
        logger.debug("%s() of session %s raised", name, self.id[:8], exc_info=problem)
        return error

    def _placed(self, error: ErrorT) -> ErrorT:
        """Add where it happened: session, episode and step."""
        error.session = error.session or self.id
        if self.episode is not None:
            error.episode = error.episode or self.episode.id
            error.step = self.episode.step if error.step is None else error.step
        if error.session_fate == "alive" and self.phase is Phase.NEEDS_RESET:
            error.session_fate = "needs_reset"
        return error


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _text(problem: BaseException) -> str:
    try:
        text = str(problem)
    except Exception:  # Boundary: an author's exception class.
        text = ""
    return text or type(problem).__name__


def _drawn_seed() -> int:
    """A seed for an episode whose caller named none: 32 bits, so that NumPy takes it too."""
    return int.from_bytes(os.urandom(4))


def _choose_task(spec: EnvironmentSpec, seed: int, options: dict[str, Any]) -> Any:
    from openenv.tasks import select, select_async  # only environments that have tasks need them

    choose = select_async if spec.is_async else select
    return choose(spec.tasks, seed=seed, split=options.pop("split", None), index=options.pop("task", None))
