"""Run the checks and report.

The checks run one after another in a thread of their own; the caller watches the time. An environment
that hangs is reported with the line at which it hangs instead of hanging the caller, and a caller with a
running event loop needs no special care.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from openenv.catalog.targets import resolve_spec
from openenv.errors import OpenEnvError
from openenv.testing.checks import CHECKS
from openenv.testing.context import Check, Context, Skipped
from openenv.testing.places import place_of, place_of_error, place_of_thread
from openenv.testing.player import Stage
from openenv.testing.report import CheckFailedError, Finding, Report, Severity

_POLL_S = 0.05


def check_env(
    target: Any,
    *,
    seed: int = 0,
    episodes: int = 3,
    max_steps: int = 25,
    budget_s: float = 3.0,
    timeout_s: float = 30.0,
    raise_on_failure: bool = False,
) -> Report:
    """Try whether an environment keeps the contract.

    It plays seeded episodes of random valid actions in real sessions of this process: see
    `openenv.testing.checks` for what is asked.

    Args:
        target: an environment class, a function that makes one, a spec, or a TARGET such as
            ``"game.py"``, ``"module:Class"`` or ``"echo"``.
        seed: seed of the first episode; the others follow.
        episodes: number of episodes that are played for comparison.
        max_steps: most steps of each.
        budget_s: seconds that a check may spend on repetitions.
        timeout_s: seconds that one call of the environment may take.
        raise_on_failure: raise `CheckFailedError` if there is an error among the findings.

    Raises:
        TargetError: the target leads to no environment.
        CheckFailedError: see `raise_on_failure`.
    """
    spec = resolve_spec(target)
    name = os.fspath(target) if isinstance(target, (str, os.PathLike)) else spec.name
    seeds = tuple(range(seed, seed + max(1, episodes)))
    context = Context(target, spec, Stage(spec), seeds, max_steps, budget_s, timeout_s)
    report = Report(name)
    with _global_generators_kept(), _sessions_silent():
        _watched(context, report)
    if raise_on_failure:
        report.raise_on_failure()
    return report


def assert_env(target: Any, *, allow: Collection[str] = (), strict: bool = False, **how: Any) -> Report:
    """Assert in a test that an environment keeps the contract.

    Args:
        target: see `check_env`.
        allow: ids of checks whose findings are accepted.
        strict: let warnings fail too.
        **how: further arguments of `check_env`.

    Raises:
        CheckFailedError: an `AssertionError` that lists the findings.
    """
    report = check_env(target, **how)
    failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    report.findings = [finding for finding in report.findings if finding.id not in allow]
    if any(finding.severity in failing for finding in report.findings):
        raise CheckFailedError(report)
    return report


def _watched(context: Context, report: Report) -> None:
    """Run the checks in a thread; give up on it when one call takes too long."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _run(context, report)
        except BaseException as error:  # boundary: whatever it is, it is raised in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="openenv-check", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        call, since = context.stage.call, context.stage.since
        if thread.is_alive() and call and time.monotonic() - since > context.timeout_s:
            report.findings.append(_hang(context, call, thread.ident))
            return
    if failure:
        raise failure[0]


def _hang(context: Context, call: str, thread: int | None) -> Finding:
    return Finding(
        "hangs",
        Severity.ERROR,
        f"{call} did not return within {context.timeout_s:g} seconds; the checks stopped there",
        place_of_thread(thread) or place_of(context.spec, call),
        "bound every wait, and set step_timeout_s or reset_timeout_s on the class",
    )


def _run(context: Context, report: Report) -> None:
    unsettled: set[str] = set()
    for check in CHECKS:
        missing = next((need for need in ("starts", *check.needs) if need in unsettled), None)
        reason = f"it builds on {missing}" if missing else check.applies(context)
        if reason:
            report.skipped[check.id] = reason
            unsettled.update([check.id] if missing else [])
            continue
        try:
            found = list(_findings(check, context))
        except Skipped as skipped:
            report.skipped[check.id] = str(skipped)
            continue
        report.checks.append(check.id)
        report.findings += found
        context.failed.update(finding.id for finding in found)
        unsettled.update(context.failed)
    context.stage.close()


def _findings(check: Check, context: Context) -> Iterator[Finding]:
    try:
        yield from check.run(context)
    except OpenEnvError as error:  # the environment failed where the check did not expect it
        yield Finding(
            check.id,
            Severity.ERROR,
            f"{type(error).__name__}: {error.message}",
            place_of_error(error, context.spec),
            "every session must be able to start, reset and report its state",
        )


@contextmanager
def _sessions_silent() -> Iterator[None]:
    """Keep sessions from logging what the report says."""
    logger = logging.getLogger("openenv.session")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Give the global generators back as they were: an environment under test may touch them."""
    numpy = sys.modules.get("numpy")
    before, numpys = random.getstate(), numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(before)
        if numpy and numpys:
            numpy.random.set_state(numpys)
