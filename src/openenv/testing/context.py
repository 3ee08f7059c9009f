"""What the checks share: the environment, its action space, and episodes played as a reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from openenv.client.actions import calls_tools
from openenv.client.embedded import ask_tools
from openenv.environment import EnvironmentSpec
from openenv.errors import SamplingError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.spaces import ActionSpace
from openenv.testing.episodes import Moment, playing
from openenv.testing.player import Player, Stage
from openenv.testing.report import Finding


class Skipped(Exception):
    """Raised by a check that finds that it cannot run; the message says why."""


@dataclass
class Context:
    """One run of the checks.

    Attributes:
        target: what the user named.
        spec: the environment.
        stage: opens sessions.
        seeds: seeds of the reference episodes.
        max_steps: most steps of an episode that is played.
        budget_s: seconds that a check may spend on repetitions.
        timeout_s: seconds that one call of the environment may take.
        failed: ids of the checks that found something so far.
    """

    target: Any
    spec: EnvironmentSpec
    stage: Stage
    seeds: tuple[int, ...]
    max_steps: int
    budget_s: float
    timeout_s: float
    failed: set[str] = field(default_factory=set)
    _actions: dict[int, list[Any]] = field(default_factory=dict)
    _reference: dict[int, list[Moment]] = field(default_factory=dict)

    @property
    def cls(self) -> type:
        """The environment's class."""
        return self.spec.cls or type(self.spec.factory)

    @cached_property
    def space(self) -> ActionSpace:
        """The action space; the tools of a published tool environment are asked for."""
        if not calls_tools(self.spec.action_schema()) or self.spec.tools:
            return ActionSpace(self.spec)
        with self.stage.open() as player:
            player.reset(self.seeds[0])
            return ActionSpace(self.spec, tools=player.ask("list_tools", ask_tools).tools)

    def actions(self, seed: int) -> list[Any]:
        """Return the random valid actions that belong to a seed, as data.

        Where none can be drawn there are none; the check `action-space` says so.
        """
        if seed not in self._actions:
            self.space.seed(seed)
            try:
                drawn = [to_jsonable(self.space.sample()) for _ in range(self.max_steps)]
            except SamplingError:
                drawn = []
            self._actions[seed] = drawn
        return self._actions[seed]

    def fresh(self, seed: int, **how: Any) -> list[Moment]:
        """Play an episode in a fresh session; see `playing`."""
        with self.stage.open() as player:
            return list(playing(player, seed, self.actions(seed), **how))

    def reference(self, seed: int) -> list[Moment]:
        """Return the episode of a seed, played once and kept."""
        if seed not in self._reference:
            self._reference[seed] = self.fresh(seed)
        return self._reference[seed]

    @property
    def moments(self) -> Iterator[Moment]:
        """All moments of the reference episodes."""
        for seed in self.seeds:
            yield from self.reference(seed)

    def repeated(self, most: int, least: int = 1) -> Iterator[int]:
        """Count up to `most`, stopping after `least` when the time budget is spent."""
        end = time.monotonic() + self.budget_s
        for index in range(most):
            if index >= least and time.monotonic() > end:
                return
            yield index

    def player(self) -> Player:
        """Open a session."""
        return self.stage.open()


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        id: names it, and what it finds.
        run: yields the findings.
        needs: checks without findings that this one builds on.
        applies: says why it does not apply, or nothing.
    """

    id: str
    run: Callable[[Context], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    applies: Callable[[Context], str] = lambda _: ""


def repeatable(context: Context) -> str:
    """Say why episodes cannot be compared, or nothing."""
    return "" if context.spec.deterministic else "the class declares deterministic=False"


def concurrent(context: Context) -> str:
    """Say why sessions cannot run side by side, or nothing."""
    if not context.spec.concurrent:
        return "the class does not support concurrent sessions"
    return repeatable(context)
