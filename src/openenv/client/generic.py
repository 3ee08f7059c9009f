"""`GenericEnvClient`: the published client without models. Dicts go in, dicts come out."""

from __future__ import annotations

from typing import Any

from openenv.client.env_client import EnvClient
from openenv.types import StepResult


class GenericEnvClient(EnvClient[dict[str, Any], dict[str, Any], dict[str, Any]]):
    """A client for any environment, without its package. Actions may be dicts or models."""

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[dict[str, Any]]:
        return StepResult(
            observation=payload.get("observation", {}),
            reward=payload.get("reward"),
            done=payload.get("done", False),
            metadata=payload.get("metadata"),
        )

    def _parse_state(self, payload: dict[str, Any]) -> dict[str, Any]:
        return payload


class GenericAction(dict[str, Any]):
    """An action written by its fields: ``GenericAction(code="x = 1")`` is ``{"code": "x = 1"}``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(kwargs)

    def __repr__(self) -> str:
        return f"GenericAction({', '.join(f'{name}={value!r}' for name, value in self.items())})"
