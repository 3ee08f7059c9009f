"""Which machinery makes a sandbox, and whether it isolates as strongly as was asked.

A backend is examined once per process, by trying to get out of a sandbox that it made; what counts is the
effect, not whether a system call succeeds.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openenv.errors import IsolationError, SandboxError, SandboxOptionError

from .limits import Limits, Packages
from .tiers import Report, Standing, Tier
from .warm import WarmParent

if TYPE_CHECKING:
    from collections.abc import Iterable

_MODES = {"namespaces": "namespaces", "bubblewrap": "inner", "confined": "confined", "subprocess": "plain"}
_FIXES = (
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu an AppArmor "
    "profile with 'userns,' or sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container "
    "--security-opt seccomp=unconfined), or accept less by name: degrade_to='C'"
)


@dataclass(frozen=True)
class Chosen:
    """A warm parent that isolates strongly enough.

    Attributes:
        parent: it.
        report: what was found when it was examined.
        single: it serves one sandbox and ends with it.
    """

    parent: WarmParent
    report: Report
    single: bool = False


class _Registry:
    """The warm parents of this process: one per backend and set of packages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chosen: dict[tuple[str, Packages], Chosen] = {}
        self._reports: dict[Packages, Report] = {}

    def get(self, name: str, packages: Packages, limits: Limits | None = None) -> Chosen:
        """The parent of a backend, started and examined on first use."""
        from .verification import examine

        if name == "bubblewrap":
            return self._single(packages, limits or Limits())
        with self._lock:
            found = self._chosen.get((name, packages))
            if found is None or not found.parent.alive:
                parent = WarmParent(_MODES[name], packages, groups=name != "subprocess")
                try:
                    found = Chosen(parent, examine(parent, name))
                except BaseException:
                    parent.close()
                    raise
                self._chosen[name, packages] = found
            return found

    def _single(self, packages: Packages, limits: Limits) -> Chosen:
        """A parent of its own for every sandbox; the first is made to be examined."""
        from .bubblewrap import BubblewrapParent
        from .verification import LIMITS, examine

        with self._lock:
            report = self._reports.get(packages)
            if report is None:
                probed = BubblewrapParent(packages, LIMITS)
                try:
                    report = self._reports[packages] = examine(probed, "bubblewrap")
                finally:
                    probed.close()
        return Chosen(BubblewrapParent(packages, limits), report, single=True)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            for chosen in self._chosen.values():
                chosen.parent.close()
            self._chosen.clear()

    def forget(self) -> None:
        """In a forked child: the parents belong to the process that started them."""
        self._lock = threading.Lock()
        self._chosen = {}


_REGISTRY = _Registry()
os.register_at_fork(after_in_child=_REGISTRY.forget)


def names() -> tuple[str, ...]:
    """Backends that can be named, the strongest first."""
    return tuple(_MODES)


def order(backend: str = "auto") -> tuple[str, ...]:
    """The backends that a request tries, in turn.

    Raises:
        SandboxOptionError: there is no backend of that name.
    """
    if backend not in ("auto", *_MODES):
        known = ", ".join(("auto", *_MODES))
        raise SandboxOptionError(f"backend: expected one of {known}, got {backend!r}", option="backend")
    return ("namespaces", "confined") if backend == "auto" else (backend,)


def choose(
    backend: str,
    packages: Packages,
    min_tier: Tier | str,
    degrade_to: Tier | str | None,
    limits: Limits | None = None,
) -> Chosen:
    """The backend for a request; see `Sandbox.create`.

    Raises:
        IsolationError: none that may be taken isolates strongly enough.
        SandboxOptionError: there is no backend of that name.
    """
    wanted = Tier.parse(min_tier)
    least = wanted if degrade_to is None else Tier.parse(degrade_to)
    turns = order(backend)
    if backend == "subprocess":
        return _REGISTRY.get(backend, packages)
    reasons = []
    best = Tier.NONE
    for name in turns:
        try:
            chosen = _REGISTRY.get(name, packages, limits)
        except SandboxOptionError:
            raise
        except SandboxError as error:
            reasons.append(f"{name}: {error}")
            continue
        tier = chosen.report.tier
        if tier.at_least(wanted) or tier.at_least(least):
            return chosen
        if chosen.single:
            chosen.parent.close()
        best = max(best, tier, key=lambda one: one.rank)
        reasons += [f"{name}: {text}" for text in _missing(chosen.report)]
    raise IsolationError(
        f"isolation of tier {wanted.value} was asked for and this machine reaches {best.value}: "
        + "; ".join(reasons)
        + f". To fix it, {_FIXES}",
        wanted=wanted.value,
        available=best.value,
        reasons=reasons,
    )


def _missing(report: Report) -> Iterable[str]:
    for layer in report.layers:
        if layer.standing is Standing.MISSING:
            yield f"{layer.name} is missing ({layer.evidence})"


def examined(backend: str = "namespaces", packages: Packages | None = None) -> Report:
    """What isolates sandboxes of a backend, from its first use in this process.

    Raises:
        SandboxError: it cannot make one here.
    """
    chosen = _REGISTRY.get(backend, packages or Packages())
    if chosen.single:
        chosen.parent.close()
    return chosen.report


def close_all() -> None:
    """End every warm parent of this process, and with them every sandbox."""
    _REGISTRY.close()
