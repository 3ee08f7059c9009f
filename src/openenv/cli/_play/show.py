"""Observations and rewards as lines for a reader."""

from __future__ import annotations

import json
from typing import Any

from openenv.cli._output import paint, printable
from openenv.types import StepResult

_ENVELOPE = ("done", "reward", "metadata")
_TOOL_RESULT = {"tool_name", "result", "error"}


def observation_lines(observation: Any) -> list[str]:
    """The observation without its reward and end: texts as they are, everything else as JSON."""
    if not isinstance(observation, dict):
        return _lines(observation)
    told = {key: value for key, value in observation.items() if key not in _ENVELOPE}
    if observation.get("metadata"):
        told["metadata"] = observation["metadata"]
    if told.keys() >= _TOOL_RESULT:
        return _tool_lines(told)
    if len(told) == 1 and isinstance(next(iter(told.values())), str):
        return _lines(next(iter(told.values())))
    lines: list[str] = []
    for key, value in told.items():
        first, *rest = _lines(value)
        lines += [f"{paint(key, 'cyan')}: {first}", *(f"  {line}" for line in rest)]
    return lines


def _tool_lines(told: dict[str, Any]) -> list[str]:
    """What a tool returned; the published wire form wraps it in `data`."""
    if told["error"]:
        error = told["error"]
        text = error.get("message", error) if isinstance(error, dict) else error
        return [paint(line, "red") for line in _lines(text)]
    result = told["result"]
    return _lines(result["data"] if isinstance(result, dict) and "data" in result else result)


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text).splitlines() or [""]


def reward_line(result: StepResult[Any], total: float) -> str:
    """Reward, return so far, number of the step, parts of the reward, and an outcome that is not `ok`."""
    reward = "no reward" if result.reward is None else f"reward {result.reward:g}"
    if result.reward is not None:
        reward = paint(reward, "green" if result.reward > 0 else "red" if result.reward < 0 else "dim")
    parts = [reward, f"return {total:g}", f"step {result.step}"]
    if result.components:
        parts.append(", ".join(f"{name} {value:g}" for name, value in result.components.items()))
    if result.outcome.value != "ok":
        parts.append(paint(result.outcome.value, "red"))
    return "  ".join(parts)
