"""The options of a reset as they come off the wire: the framework's two, and the environment's own."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from openenv.errors import InvalidActionError
from openenv.protocol.jsonvalue import to_jsonable


class _Framework(BaseModel):
    seed: int | None = None
    episode_id: str | None = Field(default=None, max_length=255)


def reset_arguments(data: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
    """Arguments of `Session.reset` for the payload of a reset message.

    Args:
        data: `seed`, `episode_id` and whatever the environment's reset takes.
        timeout_s: deadline of the call, if one was given.

    Raises:
        InvalidActionError: `seed` is not a whole number, or `episode_id` not a text of at most 255
            characters.
    """
    options = dict(data)
    seed, episode_id = options.pop("seed", None), options.pop("episode_id", None)
    if (seed is not None and type(seed) is not int) or episode_id is not None:
        try:
            checked = _Framework(seed=seed, episode_id=episode_id)
        except ValidationError as problem:
            raise _invalid(problem) from None
        seed, episode_id = checked.seed, checked.episode_id
    return {"seed": seed, "episode_id": episode_id, "options": options, "timeout_s": timeout_s}


def _invalid(problem: ValidationError) -> InvalidActionError:
    issues = to_jsonable(problem.errors())
    first = issues[0]
    return InvalidActionError(f"Invalid reset: {first['loc'][0]}: {first['msg']}", errors=issues)
