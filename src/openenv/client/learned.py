"""What a client learns of an environment from its server, and how it reads observations with that."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, RootModel, ValidationError

from openenv.client.models import GenericObservation, model_from_schema
from openenv.types import Observation, State, StepResult


class Learned:
    """The models of one environment.

    Args:
        schema: the answer to `GET /schema`: JSON Schemas `action`, `observation`, `state` and, where it
            differs, `reset_observation`.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._observation = _model(schema.get("observation"), Observation)
        first = schema.get("reset_observation")
        self._first = _model(first, Observation) if first else self._observation
        self._state = _model(schema.get("state"), State)

    def read(self, result: StepResult[Any], *, first: bool = False) -> StepResult[Any]:
        """Replace a result's raw observation by its model.

        Servers promise only that the schema describes their observations, not that each keeps to it. One
        that does not becomes a `GenericObservation`, which has the same attributes.

        Args:
            result: a result as it came.
            first: whether it is the result of a reset.
        """
        raw = result.observation
        if isinstance(raw, dict):
            fields = {**raw, "reward": result.reward, "done": result.done}
            if result.metadata and not fields.get("metadata"):
                fields["metadata"] = result.metadata
            model = self._first if first else self._observation
            result.observation = _validated(model, fields)
        return result

    def read_state(self, data: Any) -> Any:
        """A state as its model."""
        if not isinstance(data, dict):
            return data
        try:
            return self._state.model_validate(data)
        except ValidationError:
            return State.model_construct(**data)


def generic(result: StepResult[Any]) -> StepResult[Any]:
    """Give a result the metadata that servers send in one of two places."""
    raw = result.observation
    if result.metadata is None and isinstance(raw, dict) and raw.get("metadata"):
        result.metadata = raw["metadata"]
    return result


def _model(schema: Any, base: type[BaseModel]) -> type[BaseModel]:
    if not isinstance(schema, dict) or not schema:
        return GenericObservation if base is Observation else base
    return model_from_schema(schema, base=base, extra="allow")


def _validated(model: type[BaseModel], fields: dict[str, Any]) -> Any:
    try:
        observation = model.__pydantic_validator__.validate_python(fields)
    except ValidationError:
        return GenericObservation.model_construct(**fields)
    return observation.root if isinstance(observation, RootModel) else observation
