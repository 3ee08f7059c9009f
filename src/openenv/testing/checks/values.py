"""Can what the environment returns be sent, read back, summed up and kept?"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

from pydantic import BaseModel, ValidationError

from openenv.protocol.jsonvalue import to_jsonable
from openenv.testing.context import Check, Context
from openenv.testing.episodes import Moment, brief, first_difference
from openenv.testing.places import place_of
from openenv.testing.report import Finding, Severity

_ENVELOPE = ("reward", "done")


def serializable(context: Context) -> Iterator[Finding]:
    """Look at every field of every observation and state."""
    seen: set[str] = set()
    for what, value in _values(context):
        for path, problem, severity in (*_unsendable(value, what), *_unreadable(value, what)):
            if path not in seen:
                seen.add(path)
                yield Finding(
                    "serializable",
                    severity,
                    f"{path} {problem}",
                    place_of(context.spec, "state" if what == "state" else "step"),
                    "use numbers, texts, lists, dicts, models, dates, bytes or arrays, and None for no value",
                )


def _values(context: Context) -> Iterator[tuple[str, Any]]:
    for moment in context.moments:
        if moment.result is not None:
            yield "observation", moment.result.observation
    with context.player() as player:
        player.reset(context.seeds[0])
        yield "state", player.state()


def _unsendable(value: Any, path: str) -> Iterator[tuple[str, str, Severity]]:
    """Yield the parts of a value that JSON cannot carry as they are."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"is {value}: on the wire it becomes null", Severity.WARNING
        return
    parts = _parts(value)
    if parts is not None:
        for name, part in parts:
            yield from _unsendable(part, f"{path}{name}")
    elif not isinstance(value, str) and to_jsonable(value) == repr(value):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        yield path, f"is a {kind}, which has no JSON form: callers get its repr as text", Severity.ERROR


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, BaseModel):
        fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        return [(f".{name}", part) for name, part in fields.items() if name not in _ENVELOPE]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, Set)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    return None


def _unreadable(value: Any, path: str) -> Iterator[tuple[str, str, Severity]]:
    """Yield what a client that knows the model cannot read back."""
    if not isinstance(value, BaseModel):
        return
    try:
        type(value).model_validate_json(json.dumps(to_jsonable(value)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([path, *map(str, first["loc"])])
        if first["input"] is not None:
            yield where, f"cannot be read back by a client with the model: {first['msg']}", Severity.WARNING


def finite_rewards(context: Context) -> Iterator[Finding]:
    """Look at every reward and component."""
    for moment in context.moments:
        if moment.result is None:
            continue
        scores = {"reward": moment.result.reward, **moment.result.components}
        for name, score in scores.items():
            if isinstance(score, float) and not math.isfinite(score):
                yield Finding(
                    "finite-rewards",
                    Severity.ERROR,
                    f"{name} is {score} after {moment.call} {brief(moment.action)}",
                    place_of(context.spec, moment.call),
                    "give a finite number, or None where there is no reward",
                )
                return


def aliasing(context: Context) -> Iterator[Finding]:
    """See whether later steps change an observation that was returned before."""
    for seed in context.seeds:
        for moment in context.reference(seed):
            difference = _changed_since(moment)
            if difference:
                yield Finding(
                    "aliasing",
                    Severity.WARNING,
                    f"an observation changes after it was returned: its {difference}",
                    place_of(context.spec, moment.call),
                    "return a copy of what later steps change, for callers keep observations",
                )
                return


def _changed_since(moment: Moment) -> str:
    if moment.result is None:
        return ""
    now = to_jsonable(moment.result.observation)
    then = moment.seen["observation"]
    known = [{key: data[key] for key in then if key in data} for data in (then, now)]
    difference = first_difference(known[:1], known[1:])
    return "" if difference is None else difference.change


VALUE_CHECKS = (
    Check("serializable", serializable),
    Check("finite-rewards", finite_rewards),
    Check("aliasing", aliasing),
)
