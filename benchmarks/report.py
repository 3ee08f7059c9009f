"""One table of ratios with goals, from the results of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SERVERS = {
    "serve": "`openenv serve`",
    "serve_fast": "`openenv serve`, extra `fast`",
    "serve_thread": "`openenv serve`, host thread",
    "serve_inline": "`openenv serve`, host inline",
    "stock": "`create_app` under stock uvicorn",
}


_STEP_GOALS = {("serve", "64"): 4.0, ("serve", "512"): 15.0, ("stock", "64"): 4.0}
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->)\n.*?(<!-- /measured -->)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what is measured.
        theirs: the figure it is compared with.
        ours: our figure.
        unit: unit of both.
        goal: how many times less ours shall be; None where there is no goal.
    """

    what: str
    theirs: float
    ours: float
    unit: str
    goal: float | None = None

    @property
    def ratio(self) -> float:
        """How many times less ours is."""
        return self.theirs / self.ours if self.ours > 0 else float("inf")

    @property
    def met(self) -> bool:
        """Whether the goal is reached (a row without one always is)."""
        return self.goal is None or self.ratio >= self.goal


def rows(results: dict[str, Any]) -> Iterator[Row]:
    """Every comparison that `results` allows."""
    yield from _step_rows(results.get("steps", {}))
    yield from _door_rows(results.get("doors", {}))
    yield from _client_rows(results.get("clients", {}))
    yield from _import_rows(results.get("imports", {}))
    theirs = results.get("coldstart", {}).get("published")
    for name, title in _SERVERS.items():
        if theirs and name in results["coldstart"]:
            mine = results["coldstart"][name]
            goal = 5.0 if name == "serve" else None
            yield Row(f"cold start to first step, CPU, {title}", theirs["cpu_ms"], mine["cpu_ms"], "ms", goal)
            yield Row(f"cold start to first step, wall, {title}", theirs["wall_ms"], mine["wall_ms"], "ms")
    theirs = results.get("idle", {}).get("published")
    for name, title in _SERVERS.items():
        if theirs and name in results["idle"]:
            mine = results["idle"][name]["kib_per_session"]
            goal = 3.0 if name == "serve" else None
            yield Row(f"memory per idle session, {title}", theirs["kib_per_session"], mine, "KiB", goal)
    yield from _pool_rows(results.get("pool", {}))
    yield from _sandbox_rows(results.get("sandbox", {}))


def _sandbox_rows(box: dict[str, Any]) -> Iterator[Row]:
    """Goals that bound one figure by a constant show the constant as the other figure."""
    if not box:
        return
    made, ran = box["create_ms"], box["create_and_run_ms"]
    yield Row("a new sandbox, beside starting `/bin/true`", box["true_ms"], made, "ms", 1 / 8)
    for name, goal in (("bwrap", 3.0), ("runsc", 25.0), ("podman", 25.0)):
        if f"{name}_ms" in box:
            yield Row(f"a new sandbox, beside {name} and Python", box[f"{name}_ms"], made, "ms", goal)
            yield Row(f"that, with a first cell, beside {name} and Python", box[f"{name}_ms"], ran, "ms")
    yield Row("a ready sandbox taken and a cell, at most", 0.5, box["pooled_ms"], "ms", 1.0)
    beyond = box["exec_ms"] - box["exec_here_ms"]
    yield Row("a cell, beyond the same code in process, at most", 0.2, beyond, "ms", 1.0)
    yield Row("a branch with 100 MB, beside a new sandbox", made, box["branch_100mb_ms"], "ms", 0.5)
    yield Row("memory per idle sandbox (PSS), at most", 5.0, box["pss_mib_each"], "MiB", 1.0)
    yield Row(
        "a life, first of many beside last of many", box["first_cycles_ms"], box["last_cycles_ms"], "ms", 0.67
    )


def _pool_rows(pool: dict[str, Any]) -> Iterator[Row]:
    if not pool:
        return
    per_step = {name: case["cpu_us"] for name, case in pool.items() if "cpu_us" in case}
    call, vector = per_step["in_process"], per_step["gymnasium_async"]
    # A ratio below 1: the pool costs more than a call in this process, by how much is the question.
    yield Row(
        "pool of 64, 1 worker, CPU per step, beside a call", call, per_step["pool_1_worker"], "µs", 0.625
    )
    yield Row(
        "pool of 64, 2 workers, CPU per step, beside a call", call, per_step["pool_2_workers"], "µs", 0.625
    )
    yield Row("pool of 64, in process, CPU per step, beside a call", call, per_step["pool_inline"], "µs")
    yield Row("that, 1 worker, beside `AsyncVectorEnv`", vector, per_step["pool_1_worker"], "µs", 1.0)
    images = pool["images"]
    yield Row(
        "64 images, shared memory beside JSON lists, CPU",
        images["json_us"],
        images["shared_us"],
        "µs",
        3000.0,
    )
    yield Row(
        "64 images, the whole pool's step beside JSON lists", images["json_us"], images["pool_us"], "µs"
    )


def _step_rows(steps: dict[str, Any]) -> Iterator[Row]:
    for sessions, servers in steps.items():
        theirs = servers["published"]
        for name, title in _SERVERS.items():
            if name in servers:
                goal = _STEP_GOALS.get((name, sessions))
                what = f"server CPU per step, {sessions} session{'s' * (sessions != '1')}, {title}"
                yield Row(what, theirs["cpu_us"], servers[name]["cpu_us"], "µs", goal)
        for key in ("p50_us", "p99_us"):
            what = f"step latency {key[:3]}, {sessions} session{'s' * (sessions != '1')}, `openenv serve`"
            yield Row(what, theirs[key], servers["serve"][key], "µs")


_DOORS = {
    "connect": ("server CPU per connect, reset, close", 10.0),
    "http_step": ("server CPU per `POST /step`", 5.0),
    "long_step": ("server CPU per step, 64 sessions, 4 KB observations", 8.0),
}


def _door_rows(doors: dict[str, Any]) -> Iterator[Row]:
    for name, (what, goal) in _DOORS.items():
        servers = doors.get(name, {})
        for key, title in _SERVERS.items():
            if key in servers:
                theirs, mine = servers["published"]["cpu_us"], servers[key]["cpu_us"]
                yield Row(f"{what}, {title}", theirs, mine, "µs", goal if key == "serve" else None)


def _client_rows(clients: dict[str, Any]) -> Iterator[Row]:
    if not clients:
        return
    theirs, mine, echo = clients["published"], clients["ours"], clients["echo"]
    yield Row("client CPU per call, synchronous", theirs["cpu_us"], mine["cpu_us"], "µs", 12.0)
    yield Row("round trip p50, one session, own client", theirs["p50_us"], mine["p50_us"], "µs", 8.0)
    yield Row("that round trip beside a raw echo", echo["p50_us"], mine["p50_us"], "µs", 0.5)


def _import_rows(imports: dict[str, Any]) -> Iterator[Row]:
    if not imports:
        return
    client, theirs, gym = imports["client"], imports["published_client"], imports["gymnasium"]
    core, package = imports["published_core"], imports["openenv"]
    yield Row("client: import, connect, reset, step, CPU", theirs["cpu_ms"], client["cpu_ms"], "ms", 10.0)
    yield Row("client: import, connect, reset, step, modules", theirs["modules"], client["modules"], "")
    yield Row("`import openenv`, CPU", core["cpu_ms"], package["cpu_ms"], "ms", 10.0)
    yield Row("that client beside `import gymnasium`, CPU", gym["cpu_ms"], client["cpu_ms"], "ms", 1.0)
    yield Row("that client beside `import gymnasium`, modules", gym["modules"], client["modules"], "", 1.0)


def table(results: dict[str, Any], *, only_goals: bool = False) -> str:
    """A Markdown table of the ratios."""
    lines = [
        "| measure | published 0.10.0 (or as named) | ours | times less | goal |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows(results):
        if only_goals and row.goal is None:
            continue
        goal = "" if row.goal is None else f"{row.goal:g} {'met' if row.met else 'MISSED'}"
        numbers = " | ".join(f"{_number(value)} {row.unit}".rstrip() for value in (row.theirs, row.ours))
        lines.append(f"| {row.what} | {numbers} | {row.ratio:.1f} | {goal} |")
    return "\n".join(lines)


def growth_table(results: dict[str, Any]) -> str:
    """A Markdown table of what the churn left behind; empty without that suite."""
    if "churn" not in results:
        return ""
    lines = [
        "| after so many cycles more | cycles | memory | descriptors | threads | CPU per cycle |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, growth in results["churn"].items():
        lines.append(
            f"| {_SERVERS[name]} | {growth['cycles']} | {growth['uss_kib']:+} KiB | "
            f"{growth['descriptors']:+} | {growth['threads']:+} | {growth['cpu_us_per_cycle']:.0f} µs |"
        )
    return "\n".join(lines)


def machine_line(results: dict[str, Any]) -> str:
    """Where and when the run took place, in one sentence."""
    machine = results["machine"]
    return (
        f"{machine['date']}, {machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, "
        f"CPython {machine['python']}, openenv {machine['openenv']}."
    )


def render(page: str, results: dict[str, Any]) -> str:
    """Fill the blocks ``<!-- measured: NAME -->`` ... ``<!-- /measured -->`` of a page."""
    blocks = {
        "goals": table(results, only_goals=True),
        "all": table(results),
        "growth": growth_table(results),
        "machine": machine_line(results),
    }
    return _BLOCK.sub(lambda found: f"{found[1]}\n{blocks[found[2]]}\n{found[3]}", page)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
