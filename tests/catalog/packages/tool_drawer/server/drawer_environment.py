from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.mcp_types import (
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
    ToolErrorType,
)
from openenv.core.env_server.types import State

TOOLS = [Tool(name="put", description="Put a thing in.", input_schema={"type": "object"})]


class DrawerEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State(step_count=0)
        self._things = []

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state, self._things = State(episode_id=episode_id, step_count=0), []
        return ListToolsObservation(tools=TOOLS)

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        if isinstance(action, ListToolsAction) or action.type == "list_tools":
            return ListToolsObservation(tools=TOOLS)
        if action.tool_name != "put":
            error = ToolError(error_type=ToolErrorType.TOOL_NOT_FOUND, message=f"no {action.tool_name}")
            return CallToolObservation(tool_name=action.tool_name, error=error)
        self._things.append(action.arguments["thing"])
        return CallToolObservation(tool_name="put", result=list(self._things), reward=0.25)

    @property
    def state(self):
        return self._state
