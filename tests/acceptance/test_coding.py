"""A served `coding`, used by clients that share no code with it: the published frames, tasks, tools."""

from __future__ import annotations

import pytest

from .conftest import Serve
from .served import Server


@pytest.fixture(scope="module")
def coding(serve: Serve) -> Server:
    return serve("coding", "--max-sessions", "4")


def test_the_published_frames(coding: Server) -> None:
    with coding.socket() as one, coding.socket() as other:
        empty = {"metadata": {}, "stdout": "", "stderr": "", "exit_code": 0}
        assert one.reset()["data"] == {"observation": empty, "reward": 0.0, "done": False}
        other.reset()
        assert one.step(code="x = 8")["data"]["observation"]["exit_code"] == 0
        code = "print('twice')\nx * 2"
        seen = {"metadata": {"last_code": code}, "stdout": "twice\n\n16", "stderr": "", "exit_code": 0}
        assert one.step(code=code)["data"] == {
            "observation": seen, "reward": 0.0, "done": False, "metadata": {"last_code": code},
        }  # fmt: skip
        strange = other.step(code="x")["data"]["observation"]
        assert (strange["exit_code"], "NameError" in strange["stderr"]) == (1, True)
        refused = one.step(cod="x")
        assert (refused["type"], refused["data"]["code"]) == ("error", "VALIDATION_ERROR")
        assert [entry["loc"] for entry in refused["data"]["errors"]] == [["code"], ["cod"]]
        state = one.state()
        assert (state["last_exit_code"], state["step_count"], state["stdout"]) == (0, 2, "twice\n\n16")


def test_a_task_over_the_wire(coding: Server) -> None:
    assert coding.http("POST", "/coding/num_tasks", {"split": "test"}).json == {"num_tasks": 20}
    listed = coding.http("POST", "/coding/task", {"split": "train", "index": 0}).json["task"]
    with coding.socket() as ws:
        told = ws.reset(split="train", task=0)["data"]["metadata"]["task"]
        assert told == listed
        code = "def digit_sum(number):\n    return sum(map(int, str(number)))\n"
        call = {"type": "call_tool", "tool_name": "submit", "arguments": {"code": code}}
        done = ws.step(**call)["data"]
        assert (done["reward"], done["done"]) == (1.0, True)


def test_tools_over_json_rpc(coding: Server) -> None:
    def rpc(method: str, **params: object) -> dict[str, object]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: dict[str, object] = coding.http("POST", "/mcp", body).json["result"]
        return answer

    tools = rpc("tools/list")["tools"]
    assert isinstance(tools, list)
    assert [tool["name"] for tool in tools][:2] == ["run_python", "run_shell"]
    assert "42" in str(rpc("tools/call", name="run_python", arguments={"code": "6 * 7"}))
