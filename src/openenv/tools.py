"""Tools: mark methods with `@tool`, and an agent can call them by name.

::

    class Calculator(Environment):
        @tool
        def add(self, a: int, b: int = 0) -> int:
            \"\"\"Add two numbers.

Args:
                a: the first.
                b: the second.
            \"\"\"
            return a + b

See `openenv.environment.toolset` for the form in which results travel.
"""

from openenv.environment.toolcalls import tool_result
from openenv.environment.toolset import ToolSpec, tool
from openenv.protocol.mcp_types import RESERVED_TOOL_NAMES

__all__ = ["RESERVED_TOOL_NAMES", "ToolSpec", "tool", "tool_result"]
