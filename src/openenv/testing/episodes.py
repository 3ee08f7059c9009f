"""Episodes played for a check: what happened, in a form that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openenv.errors import OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.plain import result_payload
from openenv.testing.player import Player
from openenv.types import StepOutcome, StepResult

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


@dataclass(slots=True)
class Moment:
    """One call of an episode and what came of it.

    Attributes:
        call: ``reset`` or ``step``.
        action: the action of a step.
        result: what was returned; None if the call raised.
        seen: the result in its JSON form; for a call that raised, its error.
        state: the state after it in its JSON form, None where it was not read.
        error: what the call raised.
    """

    call: str
    action: Any = None
    result: StepResult[Any] | None = None
    seen: Any = None
    state: Any = None
    error: OpenEnvError | None = None

    @property
    def failed(self) -> bool:
        """Whether the environment broke: it raised something that is no refusal of the action."""
        return self.error is not None and self.error.outcome is not StepOutcome.INVALID_ACTION

    @property
    def over(self) -> bool:
        """Whether the episode ends here."""
        return self.failed or (self.result is not None and self.result.done)


def playing(
    player: Player, seed: int | None, actions: Sequence[Any], *, states: bool = True, **options: Any
) -> Iterator[Moment]:
    """Play one episode, moment by moment, until it ends or the actions are used up.

    Args:
        player: the session.
        seed: seed of the episode.
        actions: the actions, as data.
        states: whether the state is read after each call.
        **options: options of the reset.
    """
    moment = _tried(player, "reset", lambda: player.reset(seed, **options), None, states)
    yield moment
    for action in actions:
        if moment.over or (moment.call == "reset" and moment.error is not None):
            return
        moment = _tried(player, "step", lambda action=action: player.step(action), action, states)
        yield moment


def _tried(player: Player, call: str, make: Any, action: Any, states: bool) -> Moment:
    try:
        result = make()
    except OpenEnvError as error:
        moment = Moment(call, action, error=error, seen={"error": f"{type(error).__name__}: {error}"})
    else:
        moment = Moment(call, action, result, seen=_outcome(result))
    if states and not moment.failed:
        moment.state = read_state(player)
    return moment


def read_state(player: Player) -> Any:
    """Read the state in its JSON form; where that raises, the error is the state."""
    try:
        return to_jsonable(player.state())
    except OpenEnvError as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _outcome(result: StepResult[Any]) -> dict[str, Any]:
    return {
        **result_payload(result),
        "outcome": result.outcome.value,
        "status": result.status.value,
        "reason": result.reason,
        "components": to_jsonable(result.components),
    }


def fingerprint(episode: Sequence[Moment], *, states: bool = True) -> list[Any]:
    """Return what an episode showed, without what may differ: episode ids and memory addresses."""
    return [
        _comparable({"seen": moment.seen, **({"state": moment.state} if states else {})})
        for moment in episode
    ]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(inner) for key, inner in value.items() if key != "episode_id"}
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    return _ADDRESS.sub("at 0x", value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two episodes part.

    Attributes:
        moment: index of the call: 0 is the reset.
        path: the field, such as ``state.score``.
        first: its value in the first episode.
        second: its value in the second.
    """

    moment: int
    path: str
    first: Any
    second: Any

    @property
    def change(self) -> str:
        """The same in words, for two looks at one thing."""
        return f"{self.path} was {brief(self.first)} and is {brief(self.second)}"

    def __str__(self) -> str:
        where = "after reset" if self.moment == 0 else f"at step {self.moment}"
        return f"{where}, {self.path} is {brief(self.first)} once and {brief(self.second)} the other time"


def first_difference(first: Sequence[Any], second: Sequence[Any]) -> Difference | None:
    """Return where two fingerprints part, None if they are equal."""
    for index, (one, two) in enumerate(zip(first, second, strict=False)):
        for path, ours, theirs in _differences(one, two, ""):
            return Difference(index, _named(path), ours, theirs)
    if len(first) != len(second):
        return Difference(
            min(len(first), len(second)), "the number of steps", len(first) - 1, len(second) - 1
        )
    return None


def _named(path: str) -> str:
    return path.removeprefix("seen.")


def _differences(first: Any, second: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in dict.fromkeys([*first, *second]):
            yield from _differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (one, two) in enumerate(zip(first, second, strict=True)):
            yield from _differences(one, two, f"{path}[{index}]")
    elif first != second:
        yield path, first, second


def brief(value: Any, limit: int = 80) -> str:
    """Return a short `repr`."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
