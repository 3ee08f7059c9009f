"""`openenv run`."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openenv.cli._output import paint, printable, progress, say, say_json, table
from openenv.cli._targets import AsJson, Target, Token
from openenv.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from openenv.cli._rollout import Rollout

_SHOWN_ERRORS = 3


def command(
    target: Target,
    episodes: Annotated[int, typer.Option("--episodes", "-n", help="How many episodes.", min=1)] = 10,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Seed of the first episode; the next has the next.", min=0, show_default="drawn"
        ),
    ] = None,
    max_steps: Annotated[
        int, typer.Option("--max-steps", help="Steps after which an episode is left.", min=1)
    ] = 100,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", help="Deadline of every call, in seconds.", min=0.001, show_default=False),
    ] = None,
    token: Token = None,
    as_json: AsJson = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print every reset, step and episode as one JSON object per line.")
    ] = False,
) -> None:
    """Run episodes of random valid actions and sum them up.

    Exits with 1 if the environment or the machinery failed in one of them, with 7 if a deadline passed.
    Ctrl-C sums up the episodes that ended.
    """
    from openenv.cli._remote import open_env
    from openenv.cli._rollout import rollouts, summary

    first_seed = secrets.randbelow(2**31) if seed is None else seed
    done: list[Rollout] = []
    record = (lambda event: say_json(event, indent=None)) if jsonl else None
    interrupted = False
    with open_env(target, token=token, timeout_s=timeout) as env, progress(f"run {target}", episodes) as bar:
        env.action_space.seed(first_seed)
        started = time.perf_counter()
        try:
            for rollout in rollouts(env, episodes, seed=first_seed, max_steps=max_steps, record=record):
                done.append(rollout)
                bar.advance(f"return {rollout.total:g}" if rollout.total is not None else "unscored")
                if record:
                    record({"kind": "episode", **rollout.to_dict()})
        except KeyboardInterrupt:
            interrupted = True
        seconds = time.perf_counter() - started
    facts = {"target": target, "seed": first_seed, **summary(done, seconds)}
    if jsonl:
        say_json({"kind": "summary", **facts}, indent=None)
    elif as_json:
        say_json({**facts, "rollouts": [rollout.to_dict() for rollout in done]})
    else:
        _show(facts, episodes, max_steps)
    if interrupted:
        raise KeyboardInterrupt
    _exit(facts["outcomes"])


def _exit(outcomes: dict[str, int]) -> None:
    if {"env_error", "infra_error"} & outcomes.keys():
        raise typer.Exit(ExitCode.FAILED)
    if "timeout" in outcomes:
        raise typer.Exit(ExitCode.TIMEOUT)


def _show(facts: dict[str, Any], episodes: int, max_steps: int) -> None:
    words = {"running": f"left after {max_steps} steps"}
    statuses = _counts({words.get(name, name): count for name, count in facts["statuses"].items()})
    reasons = f"  ({_counts(facts['reasons'])})" if facts["reasons"] else ""
    rows = [
        ["episodes", str(facts["episodes"]) + (f" of {episodes}" if facts["episodes"] < episodes else "")],
        ["steps", str(facts["steps"])],
        ["return", _spread(facts["return"])],
        ["length", _spread(facts["length"])],
        ["ended", statuses + reasons],
        ["outcomes", _counts(facts["outcomes"])],
        ["speed", f"{facts['steps_per_s']:,.0f} steps/s" if facts["steps_per_s"] else "-"],
        ["seed", str(facts["seed"])],
    ]
    say(table([str(facts["target"]), ""], rows))
    for item in facts["errors"][:_SHOWN_ERRORS]:
        text = printable(str(item["error"]))
        say(paint(f"episode {item['episode']} (seed {item['seed']}): {text}", "red"))
    if len(facts["errors"]) > _SHOWN_ERRORS:
        say(paint(f"and {len(facts['errors']) - _SHOWN_ERRORS} more; --json lists them all", "dim"))


def _spread(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "unknown: no episode was scored"
    return f"mean {spread['mean']:.4g}  std {spread['std']:.4g}  min {spread['min']:g}  max {spread['max']:g}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
