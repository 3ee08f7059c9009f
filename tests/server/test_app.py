from __future__ import annotations

import functools
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.server.environments import Guess, MoveAction, MoveObservation, MoveState, Published, Single

from openenv.environment import describe
from openenv.errors import ConcurrencyConfigurationError, UsageError
from openenv.protocol.messages import ConcurrencyConfig, ServerMode
from openenv.server.app import HTTPEnvServer, create_app, create_fastapi_app, make_app
from openenv.server.settings import ServerSettings

MODELS = (MoveAction, MoveObservation)


# HTTPEnvServer ---------------------------------------------------------------------------------------


def test_an_instance_is_no_factory() -> None:
    with pytest.raises(TypeError, match="callable"):
        HTTPEnvServer(Published(), *MODELS)  # type: ignore[arg-type]


def test_one_way_to_say_how_many() -> None:
    with pytest.raises(ValueError, match="Cannot specify both"):
        HTTPEnvServer(Published, *MODELS, 2, ConcurrencyConfig(max_concurrent_envs=2))


def test_more_than_the_environment_allows() -> None:
    with pytest.raises(ConcurrencyConfigurationError) as caught:
        HTTPEnvServer(Single, *MODELS, max_concurrent_envs=2)
    assert (caught.value.environment_name, caught.value.max_concurrent_envs) == ("Single", 2)
    HTTPEnvServer(Single, *MODELS, max_concurrent_envs=1)


def test_factories_of_every_kind() -> None:
    def factory() -> Published:
        return Published()

    for env in (Published, factory, functools.partial(Published), lambda: Published()):
        server = HTTPEnvServer(env, *MODELS, max_concurrent_envs=4)
        assert server.max_concurrent_envs == 4
        assert server.is_concurrency_safe
        assert server._env_factory is env
    assert not HTTPEnvServer(Single, *MODELS).is_concurrency_safe


def test_defaults_are_the_published_ones() -> None:
    server = HTTPEnvServer(Published, *MODELS)
    assert server.max_concurrent_envs == 1
    assert server.concurrency_config == ConcurrencyConfig(max_concurrent_envs=1)
    assert server.env_name == "Published"
    assert server.reset_observation_cls is MoveObservation
    assert HTTPEnvServer(functools.partial(Published), *MODELS).env_name == "environment"


def test_the_concurrency_config_sets_slots_and_lease() -> None:
    server = HTTPEnvServer(
        Published, *MODELS, concurrency_config=ConcurrencyConfig(max_concurrent_envs=3, session_timeout=9)
    )
    assert server.max_concurrent_envs == 3
    assert server.runtime.settings.lease_s == 9
    assert server.concurrency_config.session_timeout == 9


def test_the_conventional_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONCURRENT_ENVS", "6")
    assert HTTPEnvServer(Published, *MODELS).max_concurrent_envs == 6
    assert HTTPEnvServer(Published, *MODELS, max_concurrent_envs=2).max_concurrent_envs == 2
    assert HTTPEnvServer(Single, *MODELS).max_concurrent_envs == 1
    monkeypatch.setenv("MAX_CONCURRENT_ENVS", "lots")
    with pytest.raises(UsageError, match="MAX_CONCURRENT_ENVS"):
        HTTPEnvServer(Published, *MODELS)


def test_capacity_and_sessions_are_told() -> None:
    server = HTTPEnvServer(Published, *MODELS, max_concurrent_envs=2)
    app = FastAPI()
    server.register_routes(app)
    with TestClient(app) as client:
        name = client.post("/reset").headers["x-openenv-session"]
        client.post("/step", json={"action": {"by": 1}})
        status = server.get_capacity_status()
        assert (status.active_sessions, status.max_sessions, status.available_slots) == (1, 2, 1)
        info = server.get_session_info(name)
        assert info is not None
        assert info.session_id == name
        assert info.step_count == 1
        assert info.environment_type == "Published"
        assert info.last_activity_at >= info.created_at > 1_600_000_000
        assert server.get_session_info("zz") is None


def test_a_subclass_may_add_routes_of_its_own() -> None:
    class Mine(HTTPEnvServer):
        def register_routes(self, app: FastAPI) -> None:  # type: ignore[override]
            super().register_routes(app)

            @app.get("/mine")
            async def mine() -> dict[str, str]:
                return {"made": type(self._env_factory()).__name__}

    app = FastAPI()
    Mine(Published, *MODELS).register_routes(app)
    with TestClient(app) as client:
        assert client.get("/mine").json() == {"made": "Published"}
        assert client.post("/reset").status_code == 200


@pytest.mark.parametrize("mode", [ServerMode.PRODUCTION, "production", "PRODUCTION"])
def test_modes(mode: Any) -> None:
    app = FastAPI()
    HTTPEnvServer(Published, *MODELS).register_routes(app, mode)
    with TestClient(app) as client:
        assert client.post("/reset").status_code == 404
        assert client.get("/health").status_code == 200


def test_an_unknown_mode_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Invalid mode"):
        HTTPEnvServer(Published, *MODELS).register_routes(FastAPI(), "sandbox")
    with pytest.raises(ValueError, match="Invalid mode"):
        create_app(Published, *MODELS, mode="sandbox")


# create_app ------------------------------------------------------------------------------------------


def test_the_mode_comes_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENENV_MODE", "production")
    with TestClient(create_app(Published, *MODELS)) as client:
        assert client.post("/reset").status_code == 404
    with TestClient(create_app(Published, *MODELS, mode="simulation")) as client:
        assert client.post("/reset").status_code == 200
    monkeypatch.setenv("OPENENV_MODE", "bogus")
    with pytest.raises(ValueError, match="OPENENV_MODE"):
        create_fastapi_app(Published, *MODELS)


def test_the_token_comes_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENENV_TOKEN", "s3cret")
    with TestClient(create_app(Published, *MODELS)) as client:
        assert client.post("/reset").status_code == 401
        assert client.post("/reset", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_authors_may_add_routes_and_middleware() -> None:
    app = create_app(Published, *MODELS, env_name="moves", state_cls=MoveState)
    assert isinstance(app, FastAPI)

    @app.get("/mine")
    async def mine() -> dict[str, bool]:
        return {"mine": True}

    @app.middleware("http")
    async def stamp(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["X-Mine"] = "1"
        return response

    with TestClient(app) as client:
        assert client.get("/mine").json() == {"mine": True}
        assert client.post("/reset").headers["x-mine"] == "1"
        assert client.get("/list_environments").json() == ["moves"]
        assert app.state.openenv.spec.name == "moves"


def test_a_global_instance_survives_between_calls() -> None:
    env = Published()

    def shared() -> Published:
        return env

    with TestClient(create_app(shared, *MODELS)) as client:
        client.post("/reset")
        client.post("/step", json={"action": {"by": 4}})
        client.cookies.clear()
        client.post("/close")
        client.post("/step", json={"action": {"by": 4}})
        assert env.state.at == 8


def test_the_page_is_mounted_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_WEB_INTERFACE", "true")
    with TestClient(create_app(Published, *MODELS, title_override="My title")) as client:
        page = client.get("/web/")
        assert page.status_code == 200
        assert "My title" in page.text


def test_there_is_no_page_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_WEB_INTERFACE", "1")
    with TestClient(create_app(Published, *MODELS, mode="production")) as client:
        assert client.post("/web/reset").status_code == 404
        assert "production" in client.get("/web").text


# make_app --------------------------------------------------------------------------------------------


def test_native_targets() -> None:
    for target in (Guess, describe(Guess), lambda: Guess()):
        app = make_app(target, ServerSettings(max_sessions=3))
        assert app.state.openenv.manager.max_sessions == 3
        with TestClient(app) as client:
            assert client.post("/step", json={"action": {"guess": 1}}).status_code == 409
            assert client.post("/reset").status_code == 200


def test_native_settings_come_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONCURRENT_ENVS", "5")
    assert make_app(Guess).state.openenv.manager.max_sessions == 5
