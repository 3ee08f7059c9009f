"""Do the same seed and actions give the same episode?"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from typing import Any

from openenv.testing.context import Check, Context, repeatable
from openenv.testing.elsewhere import play_elsewhere
from openenv.testing.episodes import Difference, fingerprint, first_difference, playing
from openenv.testing.places import place_of, place_of_global_random
from openenv.testing.report import Finding, Severity

_USE_RNG = "draw from self.rng (or self.np_rng), which is seeded for each episode"


def seed_repeats(context: Context) -> Iterator[Finding]:
    """Play every reference episode again in a fresh session."""
    for seed in context.seeds:
        again = fingerprint(context.fresh(seed))
        difference = first_difference(fingerprint(context.reference(seed)), again)
        if difference is not None:
            yield Finding(
                "seed-repeats",
                Severity.ERROR,
                f"the same seed ({seed}) and actions gave two episodes: {difference}",
                place_of_global_random(context.spec) if _draws(context) else _place(context, difference),
                f"{_USE_RNG}; or declare the class deterministic=False",
            )
            return


def reset_restarts(context: Context) -> Iterator[Finding]:
    """Play a reference episode after half of another one in the same session."""
    seed, other = context.seeds[0], context.seeds[-1] + 1
    with context.player() as player:
        before = context.actions(other)
        list(playing(player, other, before[: (len(before) + 1) // 2]))
        again = fingerprint(list(playing(player, seed, context.actions(seed))))
    difference = first_difference(fingerprint(context.reference(seed)), again)
    if difference is not None:
        yield Finding(
            "reset-restarts",
            Severity.ERROR,
            f"after another episode, seed {seed} gives a different one than in a fresh session: {difference}",
            place_of(context.spec, "reset"),
            "let reset() set every field that an episode changes",
        )


def hash_seed(context: Context) -> Iterator[Finding]:
    """Play a reference episode in other processes, where text hashes and so sets are ordered otherwise."""
    seed = context.seeds[0]
    here = fingerprint(context.reference(seed))
    for elsewhere in play_elsewhere(context, seed):
        difference = first_difference(here, elsewhere)
        if difference is not None:
            yield Finding(
                "hash-seed",
                Severity.ERROR,
                f"in another process the same seed ({seed}) and actions gave another episode: {difference}",
                _place(context, difference),
                "sort sets before drawing from them or listing them, and never use hash() or id()",
            )
            return


def global_random(context: Context) -> Iterator[Finding]:
    """See whether an episode changes the state of a global generator."""
    touched = _generators_touched(context)
    if touched:
        yield Finding(
            "global-random",
            Severity.ERROR,
            f"an episode draws from or seeds the global generator of {' and '.join(touched)}: other sessions "
            "in the process disturb it, and it them",
            place_of_global_random(context.spec),
            _USE_RNG,
        )


def _generators_touched(context: Context) -> list[str]:
    _disturb()
    before = _generator_states()
    context.fresh(context.seeds[0])
    after = _generator_states()
    return [name for name, state in before.items() if state != after[name]]


def _disturb() -> None:
    """Bring the generators where no environment leaves them, so that even seeding them anew shows."""
    state = int.from_bytes(os.urandom(4))
    random.seed(state)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(state)


def _generator_states() -> dict[str, Any]:
    states: dict[str, Any] = {"random": random.getstate()}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        states["numpy.random"] = repr(numpy.random.get_state()[1:]) + str(numpy.random.get_state()[1].sum())
    return states


def _draws(context: Context) -> bool:
    return bool(_generators_touched(context))


def _place(context: Context, difference: Difference) -> str:
    return place_of(context.spec, "reset" if difference.moment == 0 else "step")


SEED_CHECKS = (
    Check("seed-repeats", seed_repeats, needs=("state-read",), applies=repeatable),
    Check("reset-restarts", reset_restarts, needs=("seed-repeats",), applies=repeatable),
    Check("hash-seed", hash_seed, needs=("seed-repeats",), applies=repeatable),
    Check("global-random", global_random),
)
