"""Does what is hidden stay hidden?

A hidden value that shows by chance is no leak. So the check plays several seeds and reports a place
only if it showed the hidden value in all of them, while that took several values, and does not show those
of other seeds as well (a list of all options does). A place that is the hidden value is an error; a text in
which it stands is a warning, for a question may well name its answer among others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openenv.environment.fields import class_fields
from openenv.protocol.jsonvalue import to_jsonable
from openenv.testing.context import Check, Context
from openenv.testing.episodes import Moment, playing
from openenv.testing.places import place_of, place_of_attribute
from openenv.testing.player import Player
from openenv.testing.report import Finding, Severity

_SEEDS = 12
_LEAST_SEEDS = 5
_STEPS = 3
_DIFFERENT = 3
"""Different values that a hidden field must have taken before a coincidence is ruled out."""
_TELLING = {
    "answer",
    "answers",
    "solution",
    "secret",
    "secrets",
    "password",
    "truth",
    "gold",
    "target",
    "hidden",
}

Place = tuple[int, str]


@dataclass
class _Look:
    """What one place showed while a hidden field had certain values, seed by seed."""

    values: list[Any] = field(default_factory=list)
    secrets: list[Any] = field(default_factory=list)

    def leaks(self, shows: Callable[[Any, Any], bool]) -> bool:
        """Say whether every value showed the secret of its time, and did not just show all there are."""
        pairs = list(zip(self.values, self.secrets, strict=True))
        different = {repr(secret): secret for secret in self.secrets}
        if (
            len(pairs) < _LEAST_SEEDS
            or len(different) < _DIFFERENT
            or not all(shows(*pair) for pair in pairs)
        ):
            return False
        others = [
            shows(value, secret) for value, own in pairs for secret in different.values() if secret != own
        ]
        return sum(others) <= len(others) / 2


def hidden_values(context: Context) -> Iterator[Finding]:
    """Compare hidden values with everything shown before the end."""
    looks: dict[tuple[str, Place], _Look] = defaultdict(_Look)
    for index in context.repeated(_SEEDS, _LEAST_SEEDS):
        for name, place, value, secret in _looks(context, context.seeds[0] + index):
            look = looks[name, place]
            look.values.append(value)
            look.secrets.append(secret)
    reported: set[str] = set()
    for shows, how, severity in ((_equals, "is", Severity.ERROR), (_contains, "stands in", Severity.WARNING)):
        for (name, place), look in looks.items():
            if name not in reported and look.leaks(shows):
                reported.add(name)
                yield _leak(context, name, place, how, severity)


def _looks(context: Context, seed: int) -> Iterator[tuple[str, Place, Any, Any]]:
    """Play a little; yield for each hidden field and each place what the place shows and the field holds."""
    with context.player() as player:
        for index, moment in enumerate(playing(player, seed, context.actions(context.seeds[0])[:_STEPS])):
            if moment.over:
                return
            secrets = _secrets(context, player)
            for path, value in _shown(moment):
                for name, secret in secrets.items():
                    yield name, (index, path), value, secret


def _secrets(context: Context, player: Player) -> dict[str, Any]:
    """Return the hidden values by name: fields marked `hidden()`, and the hidden part of the task."""
    marked = [name for name, declared in class_fields(context.cls).items() if declared.marked]
    found = player.ask("hidden fields", lambda env: {name: getattr(env, name, None) for name in marked})
    episode = player.session.episode
    task = getattr(episode.task if episode else None, "hidden", None) or {}
    both = {**found, **{f"task.{name}": value for name, value in task.items()}}
    return {name: to_jsonable(value) for name, value in both.items() if _is_distinctive(value)}


def _is_distinctive(value: Any) -> bool:
    return not isinstance(value, bool) and value not in (None, "", [], {})


def _shown(moment: Moment) -> Iterator[tuple[str, Any]]:
    seen = moment.seen if moment.error is None else {}
    yield from _walk("observation", seen.get("observation"))
    yield from _walk("metadata", seen.get("metadata"))
    yield from _walk("state", moment.state)


def _walk(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:50]):
            yield from _walk(f"{path}[{index}]", inner)


def _equals(value: Any, secret: Any) -> bool:
    return type(value) is type(secret) and bool(value == secret)


def _contains(value: Any, secret: Any) -> bool:
    if not isinstance(value, str) or not isinstance(secret, (str, int, float)):
        return False
    return re.search(rf"(?<![\w.]){re.escape(str(secret))}(?!\w|\.\d)", value) is not None


def _leak(context: Context, name: str, place: Place, how: str, severity: Severity) -> Finding:
    when = "after reset" if place[0] == 0 else f"after step {place[0]}"
    return Finding(
        "hidden-values",
        severity,
        f"the hidden {name} {how} {place[1]} {when}",
        place_of_attribute(context.cls, name) if "." not in name else place_of(context.spec, "reset"),
        "leave it out until the episode has ended",
    )


def public_secrets(context: Context) -> Iterator[Finding]:
    """Look for public fields with telling names."""
    schemas = {"state": context.spec.state_schema(), "observation": context.spec.observation_schema()}
    for what, schema in schemas.items():
        for name in schema.get("properties", {}):
            if _TELLING & set(name.lower().split("_")):
                yield Finding(
                    "public-secrets",
                    Severity.WARNING,
                    f"{what}.{name} is public: every caller, the policy included, can read it",
                    place_of_attribute(context.cls, name)
                    if what == "state"
                    else place_of(context.spec, "step"),
                    f"if it gives the answer away, declare it hidden: {name} = hidden(...)",
                )


SECRET_CHECKS = (
    Check("hidden-values", hidden_values),
    Check("public-secrets", public_secrets),
)
