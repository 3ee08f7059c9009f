"""How strongly a sandbox isolates, in one letter, and the layers that make it up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from openenv.errors import SandboxOptionError


class Tier(StrEnum):
    """Strength of isolation; compare with `at_least`."""

    V = "V"
    """A separate kernel: gVisor or a virtual machine."""
    A = "A"
    """Namespaces, a private file tree, Landlock, a system call filter, limits."""
    B = "B"
    """As A without Landlock."""
    C = "C"
    """No namespaces: Landlock, a system call filter and limits over the machine's own file tree."""
    D = "D"
    """A system call filter and limits alone: it reads every file that its user can read."""
    NONE = "0"
    """A plain child process."""

    @property
    def rank(self) -> int:
        """0 for no isolation, higher is stronger."""
        return "0DCBAV".index(self.value)

    def at_least(self, other: Tier | str) -> bool:
        """Whether this isolates as strongly as `other`."""
        return self.rank >= Tier.parse(other).rank

    @classmethod
    def parse(cls, text: str) -> Tier:
        """From its letter.

        Raises:
            SandboxOptionError: there is no such tier.
        """
        try:
            return cls(text.upper())
        except ValueError as error:
            raise SandboxOptionError(
                f"tier: expected one of V A B C D 0, got {text!r}", option="tier"
            ) from error


class Standing(StrEnum):
    """What the doctor found about a layer."""

    VERIFIED = "verified"
    """Somebody inside tried to get past it and failed."""
    WEAK = "weak"
    """It holds, with a gap that `meaning` names."""
    MISSING = "missing"
    """It is not there, or what it shall stop went through."""


@dataclass(frozen=True)
class Layer:
    """One layer of a sandbox, tried from inside.

    Attributes:
        name: short name.
        standing: what came of the attempt.
        meaning: what it stops, or what its absence allows.
        evidence: what was tried and what happened.
        fix: how to get it, empty where nothing is amiss.
    """

    name: str
    standing: Standing
    meaning: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """What isolates sandboxes here.

    Attributes:
        backend: which backend.
        tier: the strongest tier whose layers were all verified.
        layers: one entry per layer.
        create_ms: milliseconds that making the examined sandbox took.
    """

    backend: str
    tier: Tier
    layers: tuple[Layer, ...]
    create_ms: float

    def layer(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            KeyError: there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def to_dict(self) -> dict[str, object]:
        """JSON-able, for a session's metadata and `/ready`."""
        return {
            "backend": self.backend,
            "tier": self.tier.value,
            "layers": {layer.name: layer.standing.value for layer in self.layers},
        }
