import subprocess
import sys
from pathlib import Path

import pytest

import openenv
from openenv.catalog import RemoteTarget, shipped_names
from openenv.catalog.shipped import shipped
from openenv.errors import StepTimeoutError, TargetError, UsageError
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.session import Limits


class Slow(openenv.Environment):
    def step(self, seconds: float) -> str:
        import time

        time.sleep(seconds)
        return "done"


def test_the_literal_loop():
    env = openenv.make("echo")
    for _episode in range(2):
        observation = env.reset()
        for _t in range(5):
            action = env.action_space.sample()
            observation, _reward, done, info = env.step(action)
            if done:
                break
    assert observation is env.last.observation
    assert info["step"] == 5
    env.close()


def test_options_in_this_process():
    with openenv.make(Slow, host="thread", timeout_s=0.1) as env:
        env.reset()
        with pytest.raises(StepTimeoutError):
            env.step(seconds=5.0)
    with openenv.make(Slow, limits=Limits(max_steps=1)) as env:
        env.reset()
        assert env.step(seconds=0.0).truncated


def test_a_server():
    with BackgroundServer(make_app(Slow)) as url:
        for target in (url, f" {url} ", RemoteTarget(url)):
            with openenv.make(target, timeout_s=5.0, connect_timeout_s=2.0) as env:
                env.reset(seed=1)
                assert env.step(seconds=0.0).observation.result == "done"


def test_options_that_do_not_apply_are_refused():
    with pytest.raises(UsageError, match="host and limits belong to environments in this process"):
        openenv.make("http://127.0.0.1:9", host="inline")
    with pytest.raises(UsageError, match="connect_timeout_s: options of a connection, and 'echo' is no URL"):
        openenv.make("echo", connect_timeout_s=1)
    with pytest.raises(TargetError):
        openenv.make("no-such-thing")


def test_a_client_that_is_given_a_url_loads_neither_server_nor_loader():
    program = "import openenv, sys; openenv.make('http://127.0.0.1:9'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    unwanted = {"fastapi", "yaml", "openenv.server", "openenv.catalog.namespace", "openenv.catalog.targets"}
    assert not unwanted & set(loaded.split())


def test_shipped_environments_are_listed_without_importing_them():
    program = """
import sys
from openenv.catalog.shipped import shipped
print([item.name for item in shipped()], [name for name in sys.modules if name.startswith("openenv.envs")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{shipped_names()} []"
    assert "echo" in shipped_names()


@pytest.mark.parametrize("environment", shipped(), ids=lambda item: item.name)
def test_every_shipped_environment_is_described_and_runs(environment):
    assert environment.description.endswith(".")
    assert (Path(openenv.__file__).parent / "envs" / environment.name).exists()
    with openenv.make(environment.name) as env:
        env.reset(seed=1)
        env.step(env.action_space.sample())
