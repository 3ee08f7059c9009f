"""The answers of all workers made into one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Answers = Sequence[tuple[int, bytes]]
"""Status and body of each worker's answer."""

_SAME = frozenset({"openenv_sessions_max"})
"""Metrics that every worker tells of the whole server."""


def metrics(answers: Answers, crew: Mapping[str, Any]) -> tuple[int, bytes]:
    """Prometheus's text format, line by line added up; numbers of the workers themselves at the end."""
    totals: dict[str, float] = {}
    order: list[str] = []
    for _, body in answers:
        for line in body.decode().splitlines():
            key, _, number = line.rpartition(" ")
            if line.startswith("#"):
                key = line
            if key not in totals:
                order.append(key)
                totals[key] = 0.0
            if line.startswith("#"):
                continue
            same = key.partition("{")[0] in _SAME
            totals[key] = float(number) if same else totals[key] + float(number)
    lines = [key if key.startswith("#") else f"{key} {_number(totals[key])}" for key in _grouped(order)]
    lines += _own("openenv_workers", "gauge", "Worker processes that serve.", crew["alive"])
    lines += _own("openenv_workers_wanted", "gauge", "Worker processes asked for.", crew["wanted"])
    lines += _own("openenv_workers_silent", "gauge", "Workers that did not answer just now.", crew["silent"])
    text = "Worker processes started for one that died."
    lines += _own("openenv_worker_restarts_total", "counter", text, crew["restarts"])
    return 200, "".join(f"{line}\n" for line in lines).encode()


def _grouped(order: Sequence[str]) -> list[str]:
    """The lines with those of one metric together: a label that only a later worker has comes late."""
    groups: dict[str, list[str]] = {}
    for key in order:
        name = key.split(" ")[2] if key.startswith("#") else key.partition("{")[0]
        for ending in ("_bucket", "_sum", "_count"):
            if name.endswith(ending) and name.removesuffix(ending) in groups:
                name = name.removesuffix(ending)
        groups.setdefault(name, []).append(key)
    return [key for keys in groups.values() for key in keys]


def _own(name: str, kind: str, text: str, value: float) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {_number(value)}"]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def ready(answers: Answers, crew: Mapping[str, Any]) -> tuple[int, bytes]:
    """Ready if one worker is; says how many are, and what keeps another one from it."""
    told = [(status == 200, json.loads(body)["detail"]) for status, body in answers]
    good = sum(is_ready for is_ready, _ in told)
    reason = next((detail for is_ready, detail in told if not is_ready), told[0][1])
    detail = f"{good} of {crew['wanted']} workers ready; {reason}"
    body = {"status": "ready" if good else "not ready", "detail": detail}
    return (200 if good else 503), json.dumps(body).encode()


def sessions(answers: Answers, crew: Mapping[str, Any]) -> tuple[int, bytes]:
    """All sessions, the longest alive first."""
    told = [json.loads(body) for _, body in answers]
    listed = sorted((one for answer in told for one in answer["sessions"]), key=lambda one: -one["age_s"])
    body = {**told[0], "sessions": listed, "workers": crew["alive"], "silent": crew["silent"]}
    return 200, json.dumps(body).encode()
