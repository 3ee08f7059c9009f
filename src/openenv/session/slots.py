"""Session slots that several processes share: what a manager asks of whoever counts them."""

from __future__ import annotations

from typing import Protocol

from openenv.errors import OpenEnvError


class SharedSlots(Protocol):
    """The slots of a server that runs in several processes, seen from one of them.

    Attributes:
        suffix: what the ids of this process's sessions end in.
    """

    suffix: str

    @property
    def waiting(self) -> int:
        """Callers in this process that wait for a slot."""

    async def take(self, wait: bool, client: str | None) -> None:
        """Take a slot, or wait for one.

        Args:
            wait: whether to wait.
            client: address of the caller.

        Raises:
            SessionCapacityError: there is none, or none in time.
        """

    def give_back(self) -> None:
        """Give a slot back."""

    def missing(self, session_id: str) -> OpenEnvError:
        """The error for a session that is not here: never was, or was lost with its process."""
