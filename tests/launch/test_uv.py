import subprocess
import urllib.request

import pytest

from openenv.errors import LaunchError, UsageError
from openenv.launch import RuntimeProvider, UVProvider


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    return folder


def test_a_project_serves_inside_the_context(fake, project):
    with UVProvider(project_path=str(project), env_vars={"SAY": "hello"}) as provider:
        assert isinstance(provider, RuntimeProvider)
        provider.wait_for_ready()
        assert urllib.request.urlopen(f"{provider.base_url}/health").read() == b"hello"
        url = provider.base_url
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)
    (call,) = fake.calls
    assert call[:7] == ["uv", "run", "--isolated", "--project", str(project), "--", "uvicorn"]
    assert call[7:] == [
        "server.app:app",
        "--host",
        "127.0.0.1",
        "--port",
        url.rpartition(":")[2],
        "--workers",
        "1",
    ]


def test_arguments(fake, project):
    provider = UVProvider(project_path=str(project), app="a.b:c", host="0.0.0.0", reload=True)
    provider.start(env_vars={"SAY": "there"}, workers=3)
    provider.wait_for_ready(timeout_s=20)
    assert provider.base_url.startswith("http://127.0.0.1:")
    assert urllib.request.urlopen(provider.base_url).read() == b"there"
    provider.stop()
    assert fake.calls[0][7:10] == ["a.b:c", "--host", "0.0.0.0"]
    assert fake.calls[0][-1] == "--reload"


def test_what_a_failed_server_printed_is_quoted(fake, project):
    provider = UVProvider(project_path=str(project), env_vars={"FAIL": "1"})
    provider.start()
    with pytest.raises(LaunchError, match=r"exit code 3 (.|\n)*no such module: marlin"):
        provider.wait_for_ready(timeout_s=20)
    provider.stop()


def test_a_server_that_does_not_stop_when_asked(fake, project, monkeypatch):
    monkeypatch.setattr("openenv.launch.uv._STOP_TIMEOUT_S", 0.3)
    provider = UVProvider(project_path=str(project), env_vars={"STUBBORN": "1"})
    provider.start()
    provider.wait_for_ready(timeout_s=20)
    process = provider._process
    provider.stop()
    assert process.returncode == -9


def test_order_of_calls(fake, project):
    provider = UVProvider(project_path=str(project))
    with pytest.raises(UsageError, match="not been started"):
        _ = provider.base_url
    provider.start()
    with pytest.raises(UsageError, match="already running"):
        provider.start()
    provider.stop()
    provider.stop()
    with pytest.raises(RuntimeError):
        provider.wait_for_ready()


def test_missing_things(fake, tmp_path, monkeypatch):
    provider = UVProvider(project_path=str(tmp_path / "nowhere"))
    with pytest.raises(LaunchError, match="nowhere"):
        provider.start()
    with pytest.raises(LaunchError, match="fetch"):
        UVProvider(project_path=f"git+file://{tmp_path}/nowhere.git").start()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="uv"):
        UVProvider(project_path=".")


@pytest.mark.parametrize("pin", ["", "@main", "@{sha}"])
def test_a_project_from_git(fake, project, pin):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=project, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    pin = pin.format(sha=git("rev-parse", "HEAD"))
    with UVProvider(project_path=f"git+file://{project}{pin}") as provider:
        provider.wait_for_ready(timeout_s=20)
    assert fake.calls[0][4].endswith("/project")
    assert fake.calls[0][4] != str(project)
