"""Does the environment run at all, and does looking at it change nothing?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from openenv.errors import EnvironmentFactoryError, OpenEnvError, SamplingError
from openenv.testing.context import Check, Context
from openenv.testing.episodes import brief, fingerprint, first_difference, playing, read_state
from openenv.testing.places import place_of, place_of_error
from openenv.testing.report import Finding, Severity


def starts(context: Context) -> Iterator[Finding]:
    """Build it and reset it, twice in one session."""
    try:
        with context.player() as player:
            for seed in context.seeds[:2]:
                player.reset(seed)
    except OpenEnvError as error:
        built = not isinstance(error, EnvironmentFactoryError)
        yield Finding(
            "starts",
            Severity.ERROR,
            f"{'reset()' if built else 'the constructor'} failed: {error.message}",
            place_of_error(error, context.spec),
            "reset() must work with any seed, and again after an episode",
        )


def action_space(context: Context) -> Iterator[Finding]:
    """Draw an action."""
    try:
        context.space.sample()
    except SamplingError as error:
        yield Finding(
            "action-space",
            Severity.ERROR,
            f"no valid action can be drawn from the action schema: {error.message}",
            place_of(context.spec, "step"),
            "let the schema say what is valid (bounds, enums, patterns that Python's re can read), so that "
            "callers can tell",
        )


def step_raises(context: Context) -> Iterator[Finding]:
    """Look for failures in the reference episodes."""
    seen: set[str] = set()
    for moment in context.moments:
        if not moment.failed or moment.error is None:
            continue
        where = place_of_error(moment.error, context.spec)
        if where in seen:
            continue
        seen.add(where)
        kind = moment.error.data.get("exception", type(moment.error).__name__)
        shown = brief(moment.action)
        yield Finding(
            "step-raises",
            Severity.ERROR,
            f"{moment.call} raised {kind} ({moment.error.message}) for a valid action: {shown}",
            where,
            "return an observation that says what went wrong, or narrow the action's schema",
        )


def state_read(context: Context) -> Iterator[Finding]:
    """Read the state twice, and compare an episode with and without reads."""
    seed = context.seeds[0]
    with context.player() as player:
        for _ in playing(player, seed, context.actions(seed), states=False):
            first, second = read_state(player), read_state(player)
            if (difference := first_difference([first], [second])) is not None:
                yield _reading(
                    context,
                    f"two reads of the state differ: {difference.change}",
                )
                return
    if not context.spec.deterministic:
        return
    without = fingerprint(context.fresh(seed, states=False), states=False)
    again = fingerprint(context.fresh(seed, states=False), states=False)
    difference = first_difference(fingerprint(context.reference(seed), states=False), without)
    if difference is not None and first_difference(without, again) is None:
        yield _reading(context, f"an episode goes another way when its state is read: {difference}")


def _reading(context: Context, message: str) -> Finding:
    fix = "state must only report: no counting, no drawing, no time stamps"
    return Finding("state-read", Severity.ERROR, message, place_of(context.spec, "state"), fix)


def ends(context: Context) -> Iterator[Finding]:
    """Play on until an episode ends."""
    spec = context.spec
    if spec.max_steps is not None or spec.episode_timeout_s is not None:
        return
    if any(moment.over for moment in context.moments):
        return
    steps, end = 0, time.monotonic() + context.budget_s
    with context.player() as player:
        seed = context.seeds[0]
        for moment in playing(
            player, seed, context.actions(seed) * (_LONG // context.max_steps + 1), states=False
        ):
            steps += moment.call == "step"
            if moment.over:
                return
            if time.monotonic() > end:
                break
    yield Finding(
        "ends",
        Severity.NOTE,
        f"no episode ended within {steps} random steps, and the class sets no limit",
        place_of(spec),
        f"class {context.cls.__name__}(Environment, max_steps=...) truncates episodes",
    )


_LONG = 300
"""Steps after which an episode that has not ended counts as endless."""

PLAYING_CHECKS = (
    Check("starts", starts),
    Check("action-space", action_space),
    Check("step-raises", step_raises),
    Check("state-read", state_read),
    Check("ends", ends, needs=("action-space", "step-raises")),
)
