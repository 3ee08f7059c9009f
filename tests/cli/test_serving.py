"""Options over what the code of a published package says."""

from __future__ import annotations

from pathlib import Path

import pytest

from openenv.cli._serving import announce, application
from openenv.errors import ConcurrencyConfigurationError, TargetError, UsageError
from openenv.scaffold import check_name, write_package


@pytest.fixture
def package(tmp_path: Path) -> str:
    write_package(check_name("maze_env"), tmp_path)
    return str(tmp_path / "maze_env")


def test_a_package_keeps_its_own_settings(package: str) -> None:
    served = application(package, {})
    assert served.name == "maze_env"
    assert served.settings.max_sessions == 64
    assert not served.settings.production


def test_options_win_over_the_packages_code(package: str) -> None:
    options = {"host": "127.0.0.1", "token": "a-token", "max_sessions": 3, "lease_s": 5.0}
    served = application(package, options, execution="inline")
    runtime = served.app.state.openenv
    assert {name: getattr(runtime.settings, name) for name in options} == options
    assert runtime.manager.max_sessions == 3
    assert runtime.spec.host == "inline"
    assert runtime.authorize("GET", "/schema", {"host": "127.0.0.1"}).status == 401
    assert runtime.authorize("GET", "/schema", {"host": "evil.example"}).status == 421


def test_production_reaches_a_package(package: str) -> None:
    served = application(package, {"mode": "production"})
    paths = {getattr(route, "path", "") for route in served.app.routes}
    assert served.settings.production
    assert not paths & {"/reset", "/step", "/state"}
    assert "/mcp" in paths


def test_a_package_that_fixes_its_mode_says_so(package: str) -> None:
    app = Path(package) / "server/app.py"
    app.write_text(app.read_text().replace("max_concurrent_envs=64,", 'mode="simulation",'))
    with pytest.raises(UsageError, match="sets its mode in its own code"):
        application(package, {"mode": "production"})


def test_an_application_of_another_kind_is_served_but_never_without_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from fastapi import FastAPI\napp = FastAPI(title='plain')\n")
    target = f"{tmp_path / 'plain.py'}:app"
    assert application(target, {"host": "127.0.0.1", "token": None}).app.title == "plain"
    with pytest.raises(UsageError, match="token"):
        application(target, {"host": "127.0.0.1", "token": "a-token"})


@pytest.mark.parametrize(
    ("target", "options", "error"),
    [
        ("http://127.0.0.1:8000", {}, TargetError),
        ("echo", {"host": "0.0.0.0"}, UsageError),
        ("echo", {"max_sessions": 0}, UsageError),
    ],
)
def test_refused(target: str, options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        application(target, options)


def test_more_sessions_than_the_environment_allows(package: str) -> None:
    file = Path(package) / "server/maze_env_environment.py"
    file.write_text(file.read_text().replace("SESSIONS = True", "SESSIONS = False"))
    app = Path(package) / "server/app.py"
    app.write_text(app.read_text().replace("    max_concurrent_envs=64,\n", ""))
    with pytest.raises(ConcurrencyConfigurationError):
        application(package, {"max_sessions": 8})


def test_the_announcement_never_shows_the_token(capsys: pytest.CaptureFixture[str]) -> None:
    served = application("echo", {"token": "s3cret-token", "mode": "production"})
    announce(served.name, "http://127.0.0.1:8000", served.settings)
    shown = "".join(capsys.readouterr())
    assert "s3cret-token" not in shown
    assert 'token="..."' in shown
    assert "production" in shown
