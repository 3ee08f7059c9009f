"""Do invalid actions and calls out of order get a typed refusal and change nothing?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from openenv.errors import InvalidActionError, OpenEnvError, OrderError
from openenv.testing.context import Check, Context
from openenv.testing.episodes import (
    brief,
    fingerprint,
    first_difference,
    playing,
    read_state,
)
from openenv.testing.mutations import invalid_actions
from openenv.testing.places import place_of, place_of_error
from openenv.testing.player import Player
from openenv.testing.report import Finding, Severity
from openenv.types import StepOutcome

_MOST = 60
"""Invalid actions that are tried at most."""


def invalid(context: Context) -> Iterator[Finding]:
    """Play a reference episode with invalid actions thrown in between."""
    seed = context.seeds[0]
    actions, reference = context.actions(seed), context.reference(seed)
    bad = invalid_actions(actions[0], context.spec.validate_action, _MOST)
    each = -(-len(bad) // max(1, sum(not moment.over for moment in reference)))
    episode = []
    with context.player() as player:
        for moment in playing(player, seed, actions):
            episode.append(moment)
            now, bad = ([], bad) if moment.over else (bad[:each], bad[each:])
            for action in now:
                yield from (findings := list(_tried(context, player, action)))
                if findings:
                    return
    if context.spec.deterministic and "seed-repeats" not in context.failed:
        difference = first_difference(fingerprint(reference), fingerprint(episode))
        if difference is not None:
            yield _changed(
                context, f"an episode with refused actions in between goes another way: {difference}"
            )


def bad_calls(context: Context) -> Iterator[Finding]:
    """Call a tool that does not exist, and those that do with an argument that they do not have."""
    seed = context.seeds[0]
    call = context.actions(seed)[0]
    if not isinstance(call, dict) or "tool_name" not in call:
        return
    closed = [
        spec.name for spec in context.spec.tools if spec.input_schema.get("additionalProperties") is False
    ]
    wrong = [{**call, "tool_name": name, "arguments": {"no_such_argument": 1}} for name in closed]
    with context.player() as player:
        for bad in [{**call, "tool_name": "no_such_tool"}, *wrong]:
            player.reset(seed)
            yield from (findings := list(_tried(context, player, bad)))
            if findings:
                return


def _tried(context: Context, player: Player, action: Any) -> Iterator[Finding]:
    before = _without_counter(read_state(player))
    shown = brief(action)
    try:
        result = player.step(action)
    except InvalidActionError as error:
        if not _is_json(error.errors):
            yield _finding(
                context, f"the errors of {shown} have no JSON form", place_of(context.spec, "step")
            )
    except OpenEnvError as error:
        where = place_of_error(error, context.spec)
        yield _finding(
            context, f"the invalid action {shown} got {type(error).__name__}: {error.message}", where
        )
    else:
        if result.outcome is StepOutcome.OK:
            yield _finding(
                context, f"the invalid action {shown} was carried out", place_of(context.spec, "step")
            )
    if (difference := first_difference([before], [_without_counter(read_state(player))])) is not None:
        yield _changed(
            context,
            f"the refused action {shown} changed the state: {difference.change}",
        )


def refused_by_step(context: Context) -> Iterator[Finding]:
    """Look for actions that the environment's own code refused, in the reference episodes."""
    for seed in context.seeds:
        episode = context.reference(seed)
        for before, moment in pairwise(episode):
            if not isinstance(moment.error, InvalidActionError):
                continue
            states = [_without_counter(one.state) for one in (before, moment)]
            if (difference := first_difference(states[:1], states[1:])) is not None:
                yield _changed(
                    context,
                    f"step refused {brief(moment.action)} but changed the state: {difference.change}",
                )
                return


def invalid_actions_check(context: Context) -> Iterator[Finding]:
    """All kinds of refusal: by the environment's own code, by the schema, and of tool calls."""
    for kind in (refused_by_step, invalid, bad_calls):
        yield from (findings := list(kind(context)))
        if findings:
            return


def _without_counter(state: Any) -> Any:
    """Leave the step counter out: a call of a tool that does not exist is a step."""
    return (
        {key: value for key, value in state.items() if key != "step_count"}
        if isinstance(state, dict)
        else state
    )


def _is_json(errors: Any) -> bool:
    try:
        json.dumps(errors, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _finding(context: Context, message: str, where: str) -> Finding:
    fix = "raise InvalidActionError, or let the action's schema refuse it"
    return Finding("invalid-actions", Severity.ERROR, message, where, fix)


def _changed(context: Context, message: str) -> Finding:
    return Finding(
        "invalid-actions",
        Severity.ERROR,
        message,
        place_of(context.spec, "step"),
        "check an action completely before changing anything; validators must not have effects",
    )


def order(context: Context) -> Iterator[Finding]:
    """Step before the reset, after the end and after close."""
    seed = context.seeds[0]
    action = context.actions(seed)[0]
    with context.player() as player:
        yield from _first_step(context, player, action)
    with context.player() as player:
        ended = any(moment.over for moment in playing(player, seed, context.actions(seed)))
        if ended and not _is_refused(player, action):
            yield _order(context, "a step after the end of the episode was not refused")
    if not _is_refused(player, action):
        yield _order(context, "a step after close was not refused")


def _first_step(context: Context, player: Player, action: Any) -> Iterator[Finding]:
    try:
        player.step(action)
    except OrderError as error:
        if not context.spec.requires_reset:
            yield _order(context, f"requires_reset=False, and yet: {error.message}")
    except InvalidActionError:
        return
    except OpenEnvError as error:
        if context.spec.native:
            yield _order(
                context,
                f"requires_reset=False, but a step before the first reset fails: {error.message}",
                place_of_error(error, context.spec),
            )
    else:
        if context.spec.requires_reset:
            yield _order(context, "a step before the first reset was not refused")


def _is_refused(player: Player, action: Any) -> bool:
    try:
        player.step(action)
    except OrderError:
        return True
    except OpenEnvError:
        return False
    return False


def _order(context: Context, message: str, where: str = "") -> Finding:
    return Finding(
        "order",
        Severity.ERROR,
        message,
        where or place_of(context.spec, "step"),
        "set up in __init__ what a step needs, or leave requires_reset at True",
    )


ACTION_CHECKS = (
    Check("invalid-actions", invalid_actions_check, needs=("action-space", "step-raises", "state-read")),
    Check("order", order, needs=("action-space", "step-raises")),
)
