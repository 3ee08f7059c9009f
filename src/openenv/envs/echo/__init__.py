"""Echo: gives back what it is sent. For trying out clients, servers and trainers.

`EchoEnvironment` is the published form, two tools; `TypedEcho` the same as a typed step.
"""

from openenv.envs.echo.environment import EchoEnvironment, TypedEcho

__all__ = ["EchoEnvironment", "TypedEcho"]
