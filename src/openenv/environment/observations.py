"""From what an author returned to an observation model, and what it means for the episode.

`Observation` models pass as they are. A plain value is wrapped in the model derived from the return
annotation: ``{Class}Observation`` with the field `result`, or with the fields of the dataclass, model or
TypedDict that is returned. `Outcome` adds reward, end, reason and components to either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from openenv.environment.annotations import EMPTY, strip_annotated, union_members, union_of, without_outcome
from openenv.environment.models import build_model, is_missing, is_model, schema_of, value_fields
from openenv.errors import EnvironmentFailedError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.mcp_types import CallToolObservation, ToolErrorType
from openenv.types import Observation, Outcome, StepOutcome

_REFUSED = (ToolErrorType.TOOL_NOT_FOUND, ToolErrorType.INVALID_ARGS)


@dataclass(slots=True)
class Transition:
    """What one call of the environment came to.

    Attributes:
        observation: the observation model; its `reward`, `done` and `metadata` are those below.
        reward: reward of the step, None where there is none.
        done: whether the episode ended.
        terminated: it reached an end of the task.
        truncated: it was cut off for a reason outside the task.
        reason: why it ended, where the environment says so.
        components: named parts of the reward.
        metadata: facts beside the observation.
        outcome: `ok`, `tool_error`, or `invalid_action` for a tool call that ran nothing.
    """

    observation: BaseModel
    reward: float | None = None
    done: bool = False
    terminated: bool = False
    truncated: bool = False
    reason: str | None = None
    components: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    outcome: StepOutcome = StepOutcome.OK

    def cut(self, reason: str) -> None:
        """Truncate the episode with this step."""
        self.done = self.truncated = True
        self.reason = reason
        self.observation.done = True  # type: ignore[attr-defined]


class ObservationContract:
    """How values returned by one method, or by several, become observations.

    Args:
        cls: the environment class.
        kind: the observation type that callers see, a model class or a union of them.
        wrapper: model for values that are no observations; None where only observations make sense.
        names: fields of a value that become the wrapper's fields; None for the one field `result`.
        optional: whether returning None means an empty observation.
    """

    def __init__(
        self,
        cls: type,
        kind: Any,
        wrapper: type[BaseModel] | None = None,
        names: tuple[str, ...] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        self.cls = cls
        self.type = kind
        self._wrapper = wrapper
        self._names = names
        self._optional = optional
        self._models: dict[type, ObservationContract] = {}

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an observation."""
        return schema_of(self.type)

    def same_as(self, other: ObservationContract) -> bool:
        """Whether both derive the same fields, so that one model can stand for both."""
        if self._wrapper is None or other._wrapper is None:
            return bool(self.type == other.type)
        mine, theirs = self._wrapper.model_fields, other._wrapper.model_fields
        return {n: f.annotation for n, f in mine.items()} == {n: f.annotation for n, f in theirs.items()}

    def observe(self, raw: Any) -> Transition:
        """Return the transition for what a call returned.

        Raises:
            EnvironmentFailedError: it cannot be an observation.
        """
        if isinstance(raw, Observation):
            done = bool(raw.done)
            seen = Transition(raw, raw.reward, done, done, False, None, {}, raw.metadata)
            if isinstance(raw, CallToolObservation) and raw.error is not None:
                refused = raw.error.error_type in _REFUSED
                seen.outcome = StepOutcome.INVALID_ACTION if refused else StepOutcome.TOOL_ERROR
            return seen
        if isinstance(raw, Outcome):
            return self._outcome(raw)
        return _seen(self._wrap(raw, {}))

    def _outcome(self, outcome: Outcome[Any]) -> Transition:
        reward = number(self.cls, outcome.reward)
        done = bool(outcome.terminated or outcome.truncated)
        said: dict[str, Any] = {}
        if done:
            said["done"] = True
        if reward is not None:
            said["reward"] = reward
        if outcome.metadata:
            said["metadata"] = dict(outcome.metadata)
        if isinstance(outcome.value, Observation):
            observation: Any = _with(outcome.value, said)
        else:
            observation = self._wrap(outcome.value, said)
        seen = _seen(observation)
        seen.terminated = bool(outcome.terminated) or (seen.done and not outcome.truncated)
        seen.truncated = bool(outcome.truncated) and not seen.terminated
        seen.reason = outcome.reason
        seen.components = {name: float(score) for name, score in outcome.components.items()}
        return seen

    def _wrap(self, value: Any, said: dict[str, Any]) -> Any:
        """Build the observation of a value that is none, with what the outcome said."""
        if self._is_observation_like(value):
            return _with(value, said) if said else value
        if value is None and self._optional:
            return Observation(**said)
        if self._wrapper is None:
            return self._foreign(value, said)
        data = {"result": value} if self._names is None else _fields(value, self._names)
        if data is None:
            raise self._unfit(value)
        return self._build(self._wrapper, {**data, **said}, value)

    def _build(self, model: type[BaseModel], data: dict[str, Any], value: Any) -> Any:
        try:
            return model.__pydantic_validator__.validate_python(data)
        except ValidationError:
            # NumPy scalars and the like fit once they are in their JSON form.
            try:
                return model.__pydantic_validator__.validate_python(to_jsonable(data))
            except ValidationError as error:
                raise self._unfit(value, error) from error

    @staticmethod
    def _is_observation_like(value: Any) -> bool:
        """A model with the three fields of an observation, from another base class."""
        fields = type(value).model_fields if isinstance(value, BaseModel) else ()
        return all(name in fields for name in ("reward", "done", "metadata"))

    def _foreign(self, value: Any, said: dict[str, Any]) -> Any:
        """Wrap a model or a dict where an observation model was expected."""
        if isinstance(value, BaseModel):
            contract = self._models.get(type(value))
            if contract is None:
                contract = self._models[type(value)] = returned(self.cls, type(value), self.cls)
            return contract._wrap(value, said)
        if isinstance(value, Mapping) and is_model(self.type):
            return self._build(self.type, {**value, **said}, value)
        raise self._unfit(value)

    def _unfit(self, value: Any, error: ValidationError | None = None) -> EnvironmentFailedError:
        expected = getattr(self.type, "__name__", str(self.type))
        text = f"{self.cls.__name__} returned {type(value).__name__}, which cannot be a {expected}"
        if error is not None:
            first = error.errors(include_input=False, include_url=False)[0]
            text += f": {'.'.join(map(str, first['loc']))}: {first['msg']}"
        return EnvironmentFailedError(text)


def _seen(observation: Any) -> Transition:
    done = bool(observation.done)
    metadata = observation.metadata or {}
    return Transition(observation, observation.reward, done, done, False, None, {}, metadata)


def _fields(value: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    return None


def _with(observation: Any, said: dict[str, Any]) -> Any:
    """Return a copy of an observation with what the outcome said; the author's object stays as it is."""
    if "metadata" in said:
        said = {**said, "metadata": {**(observation.metadata or {}), **said["metadata"]}}
    return observation.model_copy(update=said)


def number(cls: type, reward: Any) -> Any:
    """Return a reward as a Python number; None stays None.

    Raises:
        EnvironmentFailedError: it is not a number.
    """
    if reward is None or type(reward) in (float, int, bool):
        return reward
    try:
        return float(reward)
    except (TypeError, ValueError) as error:
        raise EnvironmentFailedError(
            f"{cls.__name__}: the reward {reward!r} ({type(reward).__name__}) is not a number"
        ) from error


def returned(
    cls: type, annotation: Any, where: Any, name: str | None = None, *, optional: bool = False
) -> ObservationContract:
    """Derive the contract of a return annotation.

    Args:
        cls: the environment class.
        annotation: what the method says it returns; EMPTY if it says nothing.
        where: the method, for errors.
        name: name of the derived model; ``{Class}Observation`` by default.
        optional: whether None is an empty observation.
    """
    promised = without_outcome(annotation)
    members = [m for m in union_members(strip_annotated(promised)) if m is not type(None)]
    models = [m for m in members if is_model(m) and issubclass(m, Observation)]
    if models and len(models) == len(members):
        return ObservationContract(cls, union_of(models), optional=optional)
    if models:
        promised = union_of(m for m in members if m not in models)
    name = name or f"{cls.__name__}Observation"
    own = value_fields(strip_annotated(promised))
    fields = own if own is not None else {"result": _result(promised)}
    wrapper = build_model(name, Observation, fields, where, "")
    kind = union_of((wrapper, *models))
    names = tuple(own) if own is not None else None
    return ObservationContract(cls, kind, wrapper, names, optional=optional)


def _result(annotation: Any) -> tuple[Any, Any]:
    if is_missing(annotation) or annotation is Any:
        return (Any, None)
    return (annotation, ...)


def returned_by_any(hints: list[dict[str, Any]]) -> Any:
    """Return what several methods together may return, from the annotations of each."""
    members = dict.fromkeys(m for hint in hints for m in union_members(hint.get("return", EMPTY)))
    if EMPTY in members:
        return EMPTY
    return union_of(members)
