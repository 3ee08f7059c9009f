"""The two echo environments."""

from __future__ import annotations

from typing import Any

from openenv.environment import Environment, tool
from openenv.types import Action, Observation, Outcome, State


class EchoEnvironment(
    Environment[Action, Observation, State], name="echo", version="1.0.0", requires_reset=False
):
    """Gives back the messages it is sent, through two tools."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Observation:
        """Get ready."""
        ready = {"status": "ready", "message": "Echo environment ready!"}
        return Observation(reward=0.0, metadata=ready)

    @tool
    def echo_message(self, message: str) -> str:
        """Echo back the provided message.

        Args:
            message: The message to echo back
        """
        return message

    @tool
    def echo_with_length(self, message: str) -> dict[str, Any]:
        """Echo back the message with its length.

        Args:
            message: The message to echo back
        """
        return {"message": message, "length": len(message)}


class TypedEcho(Environment[Action, Observation, State], name="typed_echo", version="1.0.0"):
    """Gives back the message of each step; the reward is a tenth of its length."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> str:
        """Get ready."""
        return "Echo environment ready!"

    def step(self, message: str) -> Outcome[str]:
        """Echo the message.

        Args:
            message: The message to echo back
        """
        return Outcome(message, reward=len(message) / 10)
