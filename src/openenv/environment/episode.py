"""The episode an environment is in, and the random generators that belong to it.

`rng`, `np_rng` and `episode` are non-data descriptors on `Environment`: they give what the session
attached to the instance, or make it on first use where no session did (an environment used by hand).
An instance attribute of the same name wins, so an author may keep their own ``self.rng``.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from typing import Any

from openenv.errors import MissingExtraError

ATTACHED = "_openenv_attached"
"""Key in an environment's ``__dict__`` under which the framework keeps what belongs to the instance."""


@dataclass(slots=True)
class Episode:
    """One episode: from a reset to its end.

    Attributes:
        id: its name.
        seed: seed of its generators.
        step: steps taken so far.
        task: the task it is about, where the environment has tasks.
        split: the split that the task comes from.
    """

    id: str | None = None
    seed: int | None = None
    step: int = 0
    task: Any = None
    split: str | None = None


@dataclass(slots=True)
class Attached:
    """What the framework keeps beside an environment instance.

    Attributes:
        episode: the current episode.
        rng: generator of the episode, once asked for.
        np_rng: NumPy generator of the episode, once asked for.
        transforms: the instance's own copies of the class's transforms.
    """

    episode: Episode | None = None
    rng: random.Random | None = None
    np_rng: Any = None
    transforms: tuple[Any, ...] = ()


def attached(env: Any) -> Attached:
    """Return the framework's part of an environment instance, made on first use."""
    fields: dict[str, Any] = env.__dict__
    found = fields.get(ATTACHED)
    if found is None:
        found = fields[ATTACHED] = Attached()
    return found


def attach_episode(env: Any, episode: Episode) -> None:
    """Make `episode` the current one; its generators start afresh from its seed."""
    part = attached(env)
    part.episode = episode
    part.rng = part.np_rng = None


def current_episode(env: Any) -> Episode:
    """Return the current episode; without a session, a fresh one with a random seed."""
    part = attached(env)
    if part.episode is None:
        part.episode = Episode(seed=secrets.randbits(32))
    return part.episode


def _rng(env: Any) -> random.Random:
    part = attached(env)
    if part.rng is None:
        part.rng = random.Random(current_episode(env).seed)  # noqa: S311 - games, not keys
    return part.rng


def _np_rng(env: Any) -> Any:
    part = attached(env)
    if part.np_rng is None:
        try:
            import numpy
        except ImportError as error:
            raise MissingExtraError("self.np_rng", "numpy") from error
        part.np_rng = numpy.random.default_rng(current_episode(env).seed)
    return part.np_rng


class EpisodeAttribute:
    """Non-data descriptor: computed from the current episode unless the instance has its own."""

    def __init__(self, read: Any, doc: str) -> None:
        self._read = read
        self.__doc__ = doc

    def __get__(self, env: Any, owner: type | None = None) -> Any:
        return self if env is None else self._read(env)


RNG = EpisodeAttribute(_rng, "Random generator of the episode, seeded from its seed.")
NP_RNG = EpisodeAttribute(_np_rng, "NumPy generator of the episode, seeded from its seed; needs NumPy.")
EPISODE = EpisodeAttribute(current_episode, "The current episode.")
