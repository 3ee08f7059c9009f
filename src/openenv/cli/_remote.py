"""Opening a TARGET for the commands that drive one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openenv.client import Env


def open_env(target: str, *, token: str | None = None, timeout_s: float | None = None) -> Env[Any, Any, Any]:
    """The environment that `target` names: in this process, or at its URL."""
    import openenv

    env: Env[Any, Any, Any] = openenv.make(target, token=token, timeout_s=timeout_s)
    return env
