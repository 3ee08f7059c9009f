"""The base class of environments: what an author may write, and what the framework gives.

An environment says what an agent can do in one of four ways, and the framework derives the schemas:

- *model*: ``def step(self, action: Move) -> Board`` with pydantic models (published environments are this);
- *typed*: ``def step(self, guess: int) -> str`` with plain annotated parameters;
- *actions*: several methods marked `@action`, told apart by ``type``;
- *tools*: methods marked `@tool`, called by name with arguments.

Nothing here needs ``super().__init__()``: what an instance must have is set before `__init__` runs.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from openenv._drive import discard, settle
from openenv.environment.annotations import keep_namespace
from openenv.environment.episode import EPISODE, NP_RNG, RNG, attached
from openenv.environment.fields import Field, class_fields, keep_fields, manages_fields, nearest_field
from openenv.environment.options import UNSET, class_options, keep_options, unknown_keyword
from openenv.errors import UsageError
from openenv.rubrics import instantiate
from openenv.types import ActT, EnvironmentMetadata, ObsT, StateT

if TYPE_CHECKING:
    import random

    import numpy as np

    from openenv.environment.episode import Episode

_T = TypeVar("_T")

COPIED = "_openenv_copied"
"""Class attribute: the fields of which each instance gets its own value."""


class Environment(ABC, Generic[ActT, ObsT, StateT]):
    """Base class of environments.

    Class keywords, all optional: ``class Guess(Environment, name="guess", max_steps=20)``

    - ``name``, ``version``: what the environment is called; by default derived from the class.
    - ``max_steps``: steps after which an episode is truncated.
    - ``step_timeout_s``, ``reset_timeout_s``, ``episode_timeout_s``: deadlines in seconds.
    - ``deterministic``: whether the same seed and actions give the same episode (default True).
    - ``requires_reset``: whether a step before the first reset is refused (default True).
    - ``host``: ``"thread"`` for code that blocks, ``"shard"`` for code that takes microseconds and may
      share a thread with other sessions, ``"inline"`` for the server's event loop itself,
      ``"process"`` for code that keeps state in its modules or may crash, ``"auto"`` to let the framework
      choose between the first two by what it measures.
    - ``rubric``: scores each step that has no reward of its own; each instance gets its own copy.
    - ``transforms``: callables over the observation, applied in order after the rubric.
    - ``tasks``: the tasks this environment has.

    Args:
        transform: applied by `_apply_transform`.
        rubric: applied by `_apply_rubric`.
        **fields: values for declared fields.

    Attributes:
        SUPPORTS_CONCURRENT_SESSIONS: whether instances share nothing, so that several may run at once.
        REQUIRES_SINGLE_THREAD_EXECUTOR: whether all instances must share one and the same thread.
        transform: see Args.
        rubric: see Args; the class keyword's copy where that was given.
        rng: `random.Random` of the episode, seeded from its seed.
        np_rng: the same as a NumPy `Generator`; needs NumPy.
        episode: the current episode: `id`, `seed`, `step`, `task`, `split`.
    """

    SUPPORTS_CONCURRENT_SESSIONS: bool = False
    REQUIRES_SINGLE_THREAD_EXECUTOR: bool = False

    transform: Any = None
    rubric: Any = None

    if TYPE_CHECKING:
        rng: random.Random
        np_rng: np.random.Generator
        episode: Episode
    else:
        rng = RNG
        np_rng = NP_RNG
        episode = EPISODE

    def __init_subclass__(
        cls,
        *,
        name: str | None = UNSET,
        version: str | None = UNSET,
        max_steps: int | None = UNSET,
        step_timeout_s: float | None = UNSET,
        reset_timeout_s: float | None = UNSET,
        episode_timeout_s: float | None = UNSET,
        deterministic: bool = UNSET,
        requires_reset: bool = UNSET,
        host: str = UNSET,
        rubric: Any = UNSET,
        transforms: Any = UNSET,
        tasks: Any = UNSET,
        **unknown: Any,
    ) -> None:
        keywords = {
            "name": name,
            "version": version,
            "max_steps": max_steps,
            "step_timeout_s": step_timeout_s,
            "reset_timeout_s": reset_timeout_s,
            "episode_timeout_s": episode_timeout_s,
            "deterministic": deterministic,
            "requires_reset": requires_reset,
            "host": host,
            "rubric": rubric,
            "transforms": transforms,
            "tasks": tasks,
        }
        keep_namespace(cls)
        keep_options(cls, keywords)
        keep_fields(cls)
        managed = manages_fields(cls, Environment.state)
        setattr(cls, COPIED, tuple(f for f in class_fields(cls).values() if managed and f.per_instance))
        try:
            super().__init_subclass__(**unknown)
        except TypeError:
            if not unknown:
                raise
            raise unknown_keyword(cls, unknown) from None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an instance with its own copies of mutable fields, of the rubric and of the transforms."""
        env = super().__new__(cls)
        copied: tuple[Field, ...] = getattr(cls, COPIED, ())
        for field in copied:
            env.__dict__[field.name] = field.make()
        options = class_options(cls)
        if options.rubric is not None:
            env.__dict__["rubric"] = instantiate(options.rubric)
        if options.transforms:
            attached(env).transforms = tuple(map(_own_transform, options.transforms))
        return env

    def __init__(self, transform: Any = None, rubric: Any = None, **fields: Any) -> None:
        if transform is not None or "transform" not in self.__dict__:
            self.transform = transform
        if rubric is not None or "rubric" not in self.__dict__:
            self.rubric = rubric
        if fields:
            declared = class_fields(type(self))
            for name, value in fields.items():
                if name not in declared:
                    hint = nearest_field(type(self), name)
                    raise TypeError(f"{type(self).__name__} has no field {name!r}: {hint}")
                setattr(self, name, value)

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        """Start an episode and return the first observation.

        Override it with whatever parameters the environment needs: ``seed`` and ``episode_id`` are given
        if they are among them, all others are options that the caller may pass to `reset`.
        """
        return None

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Do one action and return the observation after it.

        Override it, unless the class has `@action` or `@tool` methods: for those this base method does
        the call, so that an environment can be used by hand, ``env.step(CallToolAction(...))``.

        Raises:
            UsageError: the action needs an event loop; use `step_async`.
        """
        from openenv.environment.direct import step_by_hand

        observation = step_by_hand(self, args, kwargs)
        if inspect.isawaitable(observation):
            discard(observation)
            raise UsageError(f"{type(self).__name__} is asynchronous here: use step_async")
        return observation

    async def reset_async(self, *args: Any, **kwargs: Any) -> Any:
        """Do `reset` on an event loop. Override it where the environment is asynchronous."""
        result = self.reset(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def step_async(self, *args: Any, **kwargs: Any) -> Any:
        """Do `step` on an event loop. Override it where the environment is asynchronous."""
        if type(self).step is Environment.step:
            from openenv.environment.direct import step_by_hand

            result = step_by_hand(self, args, kwargs)
        else:
            result = self.step(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    @property
    def state(self) -> Any:
        """The public state; by default the declared fields that are not hidden."""
        from openenv.environment.states import derived_state

        return derived_state(self)

    def get_metadata(self) -> EnvironmentMetadata:
        """Say what the environment is."""
        name = type(self).__name__
        return EnvironmentMetadata(name=name, description=f"{name} environment", version="1.0.0")

    def _apply_transform(self, observation: _T) -> _T:
        """Apply the instance's transform, if it has one."""
        transform: Callable[[_T], _T] | None = self.transform
        return observation if transform is None else transform(observation)

    def _apply_rubric(self, action: Any, observation: Any) -> Any:
        """Return the rubric's score of a step; 0.0 without a rubric.

        An asynchronous rubric is run to its end, unless an event loop runs in this thread: then its
        awaitable is returned.
        """
        return 0.0 if self.rubric is None else settle(self.rubric(action, observation))

    async def _apply_rubric_async(self, action: Any, observation: Any) -> float:
        """Return the score of a rubric that may be asynchronous; 0.0 without a rubric."""
        score: Any = self._apply_rubric(action, observation)
        result: float = await score if inspect.isawaitable(score) else score
        return result

    def _reset_rubric(self) -> None:
        """Clear what the rubric remembers of the episode before."""
        if self.rubric is not None:
            self.rubric.reset()

    async def _reset_rubric_async(self) -> None:
        """Clear a rubric whose reset may be asynchronous (`reset_async`, if it has one)."""
        if self.rubric is None:
            return
        result = getattr(self.rubric, "reset_async", self.rubric.reset)()
        if inspect.isawaitable(result):
            await result

    def render_web(self, observation: dict[str, Any]) -> str | None:
        """Return HTML that draws an observation on the page, or None to list its fields.

        Args:
            observation: the observation in its JSON form, `reward` and `done` included.
        """
        return None

    def web_actions(self, observation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return one-click actions for the page: label and the action's fields.

        Args:
            observation: the observation in its JSON form, `reward` and `done` included.
        """
        return []

    def close(self) -> None:
        """Give back what the environment holds. Called once, when its session ends."""


def _own_transform(transform: Any) -> Any:
    """Return an instance's own transform: classes are called, functions shared, objects copied."""
    if isinstance(transform, type):
        return transform()
    return transform if inspect.isroutine(transform) else copy.deepcopy(transform)
