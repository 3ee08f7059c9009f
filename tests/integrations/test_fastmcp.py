"""The published `MCPEnvironment`; runs where the extra `fastmcp` is installed."""

import asyncio
import logging
import subprocess
import sys
import threading
import time

import httpx
import pytest

import openenv
from openenv import Action, Observation, State
from openenv.environment import describe
from openenv.errors import InvalidActionError, MissingExtraError, NotAvailableError
from openenv.integrations.fastmcp import MCPEnvironment, get_server_tools
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction, ToolErrorType
from openenv.session import HostedSession, LoopHost, Session


def test_without_the_library_the_class_can_be_imported_and_says_what_is_missing():
    program = """
import sys
sys.modules["fastmcp"] = None
from openenv.core.env_server import MCPEnvironment
assert "fastmcp" not in sys.modules or sys.modules["fastmcp"] is None
try:
    MCPEnvironment(object())
except ImportError as problem:
    print(type(problem).__name__, problem)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError MCPEnvironment needs the extra 'fastmcp'")
    assert issubclass(MissingExtraError, ImportError)


@pytest.fixture
def fastmcp():
    logging.getLogger("fastmcp").setLevel(logging.CRITICAL)
    return pytest.importorskip("fastmcp", reason="the extra `fastmcp` is not installed")


@pytest.fixture
def server(fastmcp):
    made = fastmcp.FastMCP("tools")

    @made.tool
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @made.tool
    async def describe_it(name: str) -> dict:
        return {"name": name}

    @made.tool
    def boom():
        raise KeyError("bad thing")

    @made.tool
    def nothing():
        return None

    @made.tool
    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return threading.current_thread().name

    @made.tool
    async def remember(ctx: fastmcp.Context, value: int) -> dict:
        before = await ctx.get_state("value")
        await ctx.set_state("value", value)
        return {"before": before, "session": bool(ctx.session_id)}

    return made


class Desk(MCPEnvironment):
    """Tools on a desk."""

    def reset(self, seed=None, episode_id=None, **options):
        self.steps = 0
        return Observation()

    def _step_impl(self, action, timeout_s=None, **options):
        return Observation(metadata={"got": type(action).__name__})

    @property
    def state(self):
        return State(step_count=getattr(self, "steps", 0))


@pytest.fixture
def env(server):
    made = Desk(server)
    made.reset()
    yield made
    made.close()


def call(env, tool, **arguments):
    return env.step(CallToolAction(tool_name=tool, arguments=arguments))


def test_listing(env):
    tools = {tool.name: tool for tool in env.step(ListToolsAction()).tools}
    assert list(tools) == ["add", "describe_it", "boom", "nothing", "sleep", "remember"]
    assert tools["add"].description == "Add two numbers."
    assert tools["boom"].description == ""
    assert tools["add"].input_schema["required"] == ["a"]
    assert "ctx" not in tools["remember"].input_schema["properties"]


def test_results_have_the_published_form(env):
    observation = call(env, "add", a=2)
    assert observation.model_dump() == {
        "done": False,
        "reward": None,
        "metadata": {},
        "tool_name": "add",
        "error": None,
        "result": {
            "content": [{"type": "text", "text": "3", "annotations": None, "meta": None}],
            "structured_content": {"result": 3},
            "meta": {"fastmcp": {"wrap_result": True}},
            "data": 3,
            "is_error": False,
        },
    }
    assert call(env, "describe_it", name="x").result["data"] == {"name": "x"}
    assert call(env, "describe_it", name="x").result["meta"] is None
    nothing = call(env, "nothing").result
    assert (nothing["content"], nothing["structured_content"], nothing["data"]) == ([], None, None)


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "message"),
    [
        ("nope", {}, ToolErrorType.TOOL_NOT_FOUND, "Unknown tool: 'nope'"),
        ("add", {"a": "z"}, ToolErrorType.INVALID_ARGS, "valid integer"),
        ("add", {}, ToolErrorType.INVALID_ARGS, "Missing required argument"),
        ("boom", {}, ToolErrorType.EXECUTION_ERROR, "Error calling tool 'boom': 'bad thing'"),
        ("remember", {}, ToolErrorType.INVALID_ARGS, "validation error"),
    ],
)
def test_failures_are_observations(env, tool, arguments, kind, message):
    observation = call(env, tool, **arguments)
    assert observation.result is None
    assert observation.error.error_type is kind
    assert message in observation.error.message


def test_a_deadline_is_kept_even_by_a_tool_that_blocks(env):
    async def step():
        started = time.monotonic()
        action = CallToolAction(tool_name="sleep", arguments={"seconds": 1})
        observation = await env.step_async(action, timeout_s=0.1)
        return observation, time.monotonic() - started

    async def both():
        return await step()

    observation, took = asyncio.run(both())
    assert observation.error.error_type is ToolErrorType.TIMEOUT
    assert took < 0.6


async def test_blocking_tools_do_not_block_the_loop(env):
    action = CallToolAction(tool_name="sleep", arguments={"seconds": 0.2})
    started = time.monotonic()
    results = await asyncio.gather(*(env.step_async(action) for _ in range(4)))
    assert time.monotonic() - started < 0.7
    assert all(result.error is None for result in results)


async def test_tools_that_use_their_session_have_one(env, fastmcp, server):
    """They see what they would see of a client that stays connected (FastMCP 4 keeps no state either)."""

    async def remember(value):
        action = CallToolAction(tool_name="remember", arguments={"value": value})
        observation = await env.step_async(action)
        assert observation.error is None
        return observation.result["data"]

    async with fastmcp.Client(server) as client:
        expected = [(await client.call_tool("remember", {"value": value})).data for value in (1, 2)]
    assert [await remember(1), await remember(2)] == expected
    assert all(answer["session"] for answer in expected)
    await env.close()


def test_inside_a_running_loop_the_synchronous_step_works_too(env):
    async def inside():
        return call(env, "add", a=1)

    assert asyncio.run(inside()).result["data"] == 2


def test_other_actions_go_to_the_author(env):
    assert env.step(Action()).metadata == {"got": "Action"}
    assert asyncio.run(env.step_async(Action())).metadata == {"got": "Action"}


def test_other_actions_are_refused_where_the_author_has_none(server):
    class Plain(MCPEnvironment):
        def reset(self, **options):
            return Observation()

        state = property(lambda self: State())

    with pytest.raises(InvalidActionError, match="Plain takes tool calls only"):
        Plain(server).step(Action())


def test_tools_of_one_mode(env):
    @env.tool(mode="production")
    def look(place: str, far: bool = False) -> str:
        """Look somewhere."""
        return f"{place}{far}"

    @env.tool()
    def always(x: int) -> int:
        return x

    names = [tool.name for tool in env.step(ListToolsAction()).tools]
    assert "always" in names
    assert "look" not in names
    assert call(env, "look", place="up").error.error_type is ToolErrorType.TOOL_NOT_FOUND
    env._mode = "production"
    (look_tool,) = [tool for tool in env.step(ListToolsAction()).tools if tool.name == "look"]
    assert look_tool.input_schema["properties"]["far"] == {"default": False, "type": "boolean"}
    assert call(env, "look", place="up").result["data"] == "upFalse"
    assert call(env, "look").error.error_type is ToolErrorType.INVALID_ARGS
    assert call(env, "always", x=4).result["data"] == 4
    assert set(env.get_callables()) >= {"look", "always", "add"}


def test_reserved_names_and_modes_are_refused(fastmcp, env):
    server = fastmcp.FastMCP("bad")

    @server.tool
    def reset(): ...

    with pytest.raises(ValueError, match=r"reserved names: .*'reset'"):
        Desk(server)
    with pytest.raises(ValueError, match="reserved"):
        env.tool()(reset)
    with pytest.raises(ValueError, match="Invalid mode 'bogus'"):
        env.tool(mode="bogus")


def test_agents_code_does_not_run_in_the_server(env):
    assert env.supports_code_mode is False
    with pytest.raises(NotAvailableError, match="server's own process"):
        env.execute_code("1")


def test_after_close(env):
    env.close()
    assert env.mcp_client is None
    assert env.mcp_server is None
    with pytest.raises(RuntimeError, match="closed"):
        env.step(ListToolsAction())


def test_tools_by_name(server):
    assert "add" in get_server_tools(server)


async def test_the_published_session_and_listing(env):
    async with env.mcp_session() as client:
        assert (await client.call_tool("add", {"a": 4})).data == 5
    shown = (await env.published_tools())[0]
    assert shown["name"] == "add"
    assert shown["inputSchema"]["required"] == ["a"]
    assert set(shown) >= {"title", "description", "outputSchema", "annotations", "meta"}


async def test_a_session_of_it(server):
    class Counting(Desk):
        def step(self, action, timeout_s=None, **options):
            self.steps += 1
            return super().step(action, timeout_s=timeout_s, **options)

        async def step_async(self, action, timeout_s=None, **options):
            self.steps += 1
            return await super().step_async(action, timeout_s=timeout_s, **options)

    spec = describe(lambda: Counting(server), action_type=CallToolAction, observation_type=Observation)
    assert spec.is_async
    hosted = HostedSession(Session(spec), LoopHost(), owner="test", lease_s=60)
    await hosted.acall("start")
    await hosted.acall("reset")
    result = await hosted.acall(
        "step", action={"type": "call_tool", "tool_name": "add", "arguments": {"a": 1}}
    )
    assert result.observation.result["data"] == 2
    assert (await hosted.acall("state")).step_count == 1
    await hosted.acall("close")
    hosted.host.stop()


async def test_a_step_that_only_the_synchronous_way_defines_is_used(server):
    class Scored(Desk):
        def step(self, action, timeout_s=None, **options):
            observation = super().step(action, timeout_s=timeout_s, **options)
            observation.reward = 0.5
            return observation

    env = Scored(server)
    assert (await env.step_async(CallToolAction(tool_name="add", arguments={"a": 1}))).reward == 0.5


def test_native_description(server):
    class Native(Desk):
        def __init__(self):
            super().__init__(server)

    spec = describe(Native)
    assert isinstance(spec.validate_action({"type": "list_tools"}), ListToolsAction)
    assert isinstance(spec.validate_action({"type": "call_tool", "tool_name": "add"}), CallToolAction)


class Opened(Desk):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def step(self, action, timeout_s=None, **options):
        self.steps += 1
        return super().step(action, timeout_s=timeout_s, **options)

    async def step_async(self, action, timeout_s=None, **options):
        self.steps += 1
        return await super().step_async(action, timeout_s=timeout_s, **options)


def test_behind_a_server(server):
    from openenv.core.env_server import CallToolObservation, create_app
    from openenv.server.run import BackgroundServer

    app = create_app(lambda: Opened(server), CallToolAction, CallToolObservation, max_concurrent_envs=4)
    with BackgroundServer(app) as url, openenv.make(url) as env:
        assert env.list_tools()[0].name == "add"
        env.reset()
        assert env.call_tool("add", a=2) == 3
        assert env.last.observation.result["data"] == 3
        assert env.state().step_count == 1
        with pytest.raises(openenv.OpenEnvError, match="bad thing"):
            env.call_tool("boom")

        def rpc(method, **params):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return httpx.post(f"{url}/mcp", json=body, trust_env=False).json()

        shown = rpc("tools/list")["result"]["tools"]
        assert shown[0]["inputSchema"]["required"] == ["a"]
        called = rpc("tools/call", name="add", arguments={"a": 4})["result"]
        assert (called["data"], called["is_error"]) == (5, False)
        assert "bad thing" in rpc("tools/call", name="boom")["error"]["message"]


class Annotated(Opened):
    async def step_async(self, action: Action, timeout_s=None, **options):
        return await super().step_async(action, timeout_s=timeout_s, **options)


@pytest.mark.parametrize("cls", [Opened, Annotated])
def test_in_process(server, cls):
    with openenv.make(lambda: cls(server)) as env:
        env.reset()
        assert env.call_tool("add", a=1) == 2
        assert env.state().step_count == 1
        action = env.action_space.sample()
        assert env.step(action).observation is not None
