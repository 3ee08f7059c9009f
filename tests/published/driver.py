"""Runs on the published openenv: its own clients drive the server at a URL and say what they saw, in JSON."""

import asyncio
import json
import sys

from openenv.core import EnvClient, GenericEnvClient, MCPToolClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.mcp_types import CallToolAction
from openenv.core.env_server.types import Action, Observation, State


class CounterAction(Action):
    by: int = 1


class CounterObservation(Observation):
    count: int = 0


class CounterClient(EnvClient[CounterAction, CounterObservation, State]):
    def _step_payload(self, action):
        return {"by": action.by}

    def _parse_result(self, payload):
        observation = CounterObservation(count=payload["observation"]["count"])
        return StepResult(observation=observation, reward=payload["reward"], done=payload["done"])

    def _parse_state(self, payload):
        return State(**payload)


def seen(result):
    observation = result.observation
    dumped = observation if isinstance(observation, dict) else observation.model_dump()
    return {"observation": dumped, "reward": result.reward, "done": result.done}


def generic(url):
    saw = {}
    with GenericEnvClient(base_url=url) as env:
        saw["reset"] = seen(env.reset(seed=3, episode_id="mine", unknown=1))
        saw["steps"] = [seen(env.step({"by": by})) for by in (1, 2)]
        saw["errors"] = []
        for bad in ({"by": "x"}, {"by": 1, "more": 2}, {"by": -1}):
            try:
                env.step(bad)
            except RuntimeError as error:
                saw["errors"].append(str(error))
        saw["after"] = seen(env.step({"by": 3}))
        saw["state"] = env.state()
    return saw


async def generic_async(url):
    async with GenericEnvClient(base_url=url) as env:
        await env.reset()
        return [seen(await env.step({"by": by})) for by in (1, 2)]


def typed(url):
    client = CounterClient(base_url=url).sync()
    with client:
        client.reset()
        result = client.step(CounterAction(by=4))
        with client.new_session() as other:
            other.reset()
            return [seen(result), seen(other.step(CounterAction(by=1))), client.state().model_dump()]


def tools(url):
    with MCPToolClient(base_url=url).sync() as env:
        reset = seen(env.reset())
        listed = [tool.model_dump() for tool in env.list_tools()]
        called = env.call_tool("add", a=1, b=2)
        try:
            env.call_tool("fail")
            failed = None
        except RuntimeError as error:
            failed = str(error)
        stepped = seen(env.step(CallToolAction(tool_name="add", arguments={"a": 5})))
        return {
            "reset": reset,
            "listed": listed,
            "called": called,
            "failed": failed,
            "stepped": stepped,
            "steps": env.state().step_count,
        }


async def tools_async(url):
    async with MCPToolClient(base_url=url) as env:
        await env.reset()
        return [len(await env.list_tools()), await env.call_tool("add", a=2, b=2), await env.has_tool("add")]


if __name__ == "__main__":
    what, url = sys.argv[1:]
    run = {
        "generic": generic,
        "typed": typed,
        "tools": tools,
        "generic_async": generic_async,
        "tools_async": tools_async,
    }[what]
    answer = run(url)
    print(json.dumps(asyncio.run(answer) if asyncio.iscoroutine(answer) else answer))
