import os
import subprocess
import sys
import time
import urllib.request

import pytest

from openenv import GenericEnvClient
from openenv.errors import LaunchError, LaunchTimeoutError, UsageError
from openenv.launch import ContainerProvider, LocalDockerProvider


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def flag(call, name):
    return call[call.index(name) + 1]


def test_a_container_serves_until_it_is_closed(fake):
    with LocalDockerProvider() as provider:
        assert isinstance(provider, ContainerProvider)
        url = provider.start_container("registry.io/a/my-env:latest", env_vars={"SAY": "hello"})
        provider.wait_for_ready(url, timeout_s=20)
        assert urllib.request.urlopen(f"{url}/health").read() == b"hello"
        assert provider.container_id == "c0ffee"
        pid = fake.pid
    wait_until_gone(pid)
    assert provider.container_id is None
    _, run, *_, stop, remove = fake.calls
    port = url.rpartition(":")[2]
    assert run[:3] == ["docker", "run", "--detach"]
    assert run[-1] == "registry.io/a/my-env:latest"
    assert flag(run, "--publish") == f"127.0.0.1:{port}:8000"
    assert flag(run, "--name").startswith("my-env-")
    assert flag(run, "--security-opt") == "no-new-privileges"
    assert flag(run, "--env") == "SAY=hello"
    assert stop == ["docker", "stop", "c0ffee"]
    assert remove == ["docker", "rm", "--force", "--volumes", "c0ffee"]


def test_options_reach_the_command(fake):
    provider = LocalDockerProvider()
    provider.start_container(
        "img", port=0, memory="512m", cpus=1.5, pids_limit=64, container_port=9000, command=["serve", "-x"]
    )
    provider.close()
    run = fake.calls[1]
    assert flag(run, "--memory") == "512m"
    assert flag(run, "--cpus") == "1.5"
    assert flag(run, "--pids-limit") == "64"
    assert flag(run, "--publish").endswith(":9000")
    assert run[-3:] == ["img", "serve", "-x"]


def test_options_it_does_not_know_are_named(fake):
    provider = LocalDockerProvider()
    with pytest.warns(UserWarning, match="ignores replicas"):
        provider.start_container("img", replicas=2)
    provider.close()


def test_one_container_at_a_time(fake):
    with LocalDockerProvider() as provider:
        provider.start_container("img")
        with pytest.raises(UsageError, match="c0ffee"):
            provider.start_container("img")


def test_an_image_is_not_an_option(fake):
    with pytest.raises(UsageError, match="--privileged"):
        LocalDockerProvider().start_container("--privileged")


def test_the_log_of_a_container_that_exits_is_quoted(fake):
    with LocalDockerProvider() as provider:
        url = provider.start_container("img", env_vars={"FAIL": "1"})
        with pytest.raises(LaunchError, match="no such module: marlin"):
            provider.wait_for_ready(url, timeout_s=20)


def test_waiting_ends(fake):
    with LocalDockerProvider() as provider:
        url = provider.start_container("img", env_vars={"SLOW": "60"})
        with pytest.raises(TimeoutError, match=r"within 0\.6 s") as caught:
            provider.wait_for_ready(url, timeout_s=0.6)
    assert isinstance(caught.value, LaunchTimeoutError)


def test_dockers_own_words_are_quoted(fake):
    with pytest.raises(LaunchError, match="Unable to find image"):
        LocalDockerProvider().start_container("missing:latest")


def test_without_docker(no_programs):
    with pytest.raises(RuntimeError, match="Docker is not available"):
        LocalDockerProvider()


def test_closing_twice_is_fine(fake):
    provider = LocalDockerProvider()
    provider.start_container("img")
    provider.close()
    provider.close()
    assert [call[1] for call in fake.calls] == ["version", "run", "stop", "rm"]


def test_a_process_that_ends_removes_its_container(fake):
    script = "from openenv.launch import LocalDockerProvider as P; P().start_container('img')"
    subprocess.run([sys.executable, "-c", script], check=True, env=dict(os.environ))
    assert fake.calls[-1][1] == "rm"
    wait_until_gone(fake.pid)


def test_a_client_that_starts_an_image(fake):
    client = GenericEnvClient.from_docker_image("echo:latest").sync()
    with client:
        client.reset(seed=1)
        action = {"type": "call_tool", "tool_name": "echo_message", "arguments": {"message": "hi"}}
        assert client.step(action).observation["result"]["data"] == "hi"
        pid = fake.pid
    wait_until_gone(pid)
    assert fake.calls[-1][1] == "rm"


def test_what_docker_does_wrong(fake, monkeypatch):
    provider = LocalDockerProvider()
    monkeypatch.setattr(LocalDockerProvider, "_docker", staticmethod(lambda *arguments, **options: ""))
    with pytest.raises(LaunchError, match="printed no container id"):
        provider.start_container("img")


def test_a_docker_that_hangs(fake, monkeypatch):
    monkeypatch.setattr("openenv.launch.docker._COMMAND_TIMEOUT_S", 0.3)
    (fake.state.parent / "bin" / "docker").write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(LaunchError, match=r"`docker version` did not finish within 0\.3 s"):
        LocalDockerProvider()


def test_a_container_that_somebody_else_stopped(fake):
    with LocalDockerProvider() as provider:
        url = provider.start_container("img", env_vars={"SLOW": "60"})
        provider.stop_container()
        with pytest.raises(LaunchTimeoutError):
            provider.wait_for_ready(url, timeout_s=0.2)
