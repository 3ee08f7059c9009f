"""Do sessions leave each other alone?"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from openenv.environment import Environment
from openenv.protocol.jsonvalue import to_jsonable
from openenv.testing.context import Check, Context, concurrent
from openenv.testing.episodes import Moment, fingerprint, first_difference, playing
from openenv.testing.places import place_of, place_of_attribute
from openenv.testing.report import Finding, Severity


def interleaved(context: Context) -> Iterator[Finding]:
    """Play two episodes in turns, in two sessions."""
    seeds = (context.seeds[0], context.seeds[-1] + 1)
    alone = [context.reference(seed) for seed in seeds]
    together: tuple[list[Moment], list[Moment]] = ([], [])
    with context.player() as one, context.player() as two:
        turns = [
            playing(player, seed, context.actions(seed))
            for player, seed in zip((one, two), seeds, strict=True)
        ]
        for moments in zip_longest(*turns):
            for episode, moment in zip(together, moments, strict=True):
                if moment is not None:
                    episode.append(moment)
    for before, now in zip(alone, together, strict=True):
        difference = first_difference(fingerprint(before), fingerprint(now))
        if difference is not None:
            yield Finding(
                "interleaved",
                Severity.ERROR,
                f"beside another session an episode goes another way than alone: {difference}",
                place_of(context.spec, "step"),
                "keep all that an episode changes in the instance: not in module globals, class attributes, "
                "global generators, files or ports of fixed names",
            )
            return


def shared_state(context: Context) -> Iterator[Finding]:
    """Compare class attributes before and after episodes that have been played once already."""
    seed = context.seeds[0]
    context.reference(seed)
    before = _class_attributes(context.cls)
    context.fresh(seed)
    after = _class_attributes(context.cls)
    for (cls, name), value in after.items():
        if before.get((cls, name), value) != value:
            yield Finding(
                "shared-state",
                Severity.WARNING,
                f"an episode changes the class attribute {cls.__name__}.{name}, which all sessions share",
                place_of_attribute(cls, name),
                f"set it in reset (self.{name} = ...), or annotate it, which gives each instance its own",
            )


def _class_attributes(cls: type) -> dict[tuple[type, str], str]:
    """Return the data that stands on the classes an author wrote, as text."""
    found: dict[tuple[type, str], str] = {}
    for base in cls.__mro__:
        if base is Environment or not issubclass(base, Environment):
            continue
        for name, value in vars(base).items():
            if not name.startswith(("__", "_openenv", "_abc")) and _is_data(value):
                found[base, name] = json.dumps(to_jsonable(value), sort_keys=True)
    return found


def _is_data(value: Any) -> bool:
    return not (callable(value) or inspect.isdatadescriptor(value) or hasattr(value, "__get__"))


SHARING_CHECKS = (
    Check("interleaved", interleaved, needs=("seed-repeats",), applies=concurrent),
    Check("shared-state", shared_state),
)
