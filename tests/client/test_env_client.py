"""The published client: its arguments, its two ways of use, and what subclasses may rely on."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.counting import CountAction, CountObservation, CountState, Typed
from tests.client.scripted import Peer, ScriptedServer, counting, counting_extended, until

from openenv.client.env_client import EnvClient
from openenv.client.generic import GenericEnvClient
from openenv.client.sync_client import SyncEnvClient
from openenv.errors import (
    InvalidActionError,
    OpenEnvError,
    OrderError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
)
from openenv.types import StepResult

Start = Callable[..., ScriptedServer]


class HandWritten(EnvClient[CountAction, CountObservation, CountState]):
    """Written the published way."""

    def _step_payload(self, action: CountAction) -> dict[str, Any]:
        return {"by": action.by}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[CountObservation]:
        observation = CountObservation(count=payload["observation"]["count"])
        return StepResult(
            observation=observation, reward=payload.get("reward"), done=payload.get("done", False)
        )

    def _parse_state(self, payload: dict[str, Any]) -> CountState:
        return CountState(episode_id=payload.get("episode_id"), step_count=payload.get("step_count", 0))


def test_the_published_signature() -> None:
    parameters = inspect.signature(EnvClient).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "base_url": None,
        "connect_timeout_s": 10.0,
        "message_timeout_s": 60.0,
        "max_message_size_mb": 100.0,
        "websocket_ping_interval_s": 20.0,
        "websocket_ping_timeout_s": 20.0,
        "provider": None,
        "mode": None,
        "headers": None,
    }


def test_arguments_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="base_url or provider"):
        GenericEnvClient()
    with pytest.raises(ValueError, match="Invalid mode: 'fast'"):
        GenericEnvClient("http://x", mode="Fast")
    monkeypatch.setenv("OPENENV_CLIENT_MODE", "Production")
    client = GenericEnvClient("http://x/")
    assert client._mode == "production"
    with pytest.raises(AttributeError, match="mode"):
        client._mode = "simulation"


def test_what_third_parties_touch() -> None:
    client = GenericEnvClient("http://x:1/env/", connect_timeout_s=3.0)
    assert client.base_url == "http://x:1/env"
    assert client._ws_url == "ws://x:1/env/ws"
    assert client._connect_timeout == 3.0
    assert client._message_timeout == 60.0
    assert client._ws is None
    with pytest.raises(AttributeError):
        client.base_url = "other"  # type: ignore[misc]


@pytest.mark.parametrize("client_type", [Typed, HandWritten])
@pytest.mark.parametrize("script", [counting, counting_extended])
def test_synchronous_use(scripted: Start, client_type: type[Typed], script: Callable[[Peer], None]) -> None:
    with client_type(base_url=scripted(script).url) as client:
        assert client._ws is not None
        first = client.reset(seed=4, episode_id="mine")
        assert isinstance(first.observation, CountObservation)
        assert (first.seed, first.episode_id, first.step) == (4, "mine", 0)
        result = client.step(CountAction(by=2))
        assert (result.observation.count, result.reward, result.done, result.step) == (1, 1.0, False, 1)
        observation, reward, done, info = client.step(CountAction())
        assert (observation.count, reward, done, info["step"]) == (2, 1.0, False, 2)
        state = client.state()
        assert isinstance(state, CountState)
        assert (state.episode_id, state.step_count) == ("e", 2)


def test_synchronous_use_without_a_context(scripted: Start) -> None:
    client = GenericEnvClient(scripted(counting).url)
    assert client.connect() is client
    assert client.reset().observation == {"count": 0}
    assert client.close() is None
    assert client._ws is None


async def test_asynchronous_use(scripted: Start) -> None:
    async with Typed(base_url=scripted(counting).url) as client:
        assert inspect.iscoroutine(coroutine := client.reset(seed=1))
        assert (await coroutine).observation.count == 0
        assert (await client.step(CountAction(by=3))).observation.got == {"by": 3}
        assert (await client.state()).step_count == 1


async def test_asynchronous_use_without_a_context(scripted: Start) -> None:
    client = GenericEnvClient(scripted(counting).url)
    assert await client.connect() is client
    assert (await client.reset()).observation == {"count": 0}
    await client.close()


async def test_synchronous_use_in_a_notebook(scripted: Start) -> None:
    with GenericEnvClient(scripted(counting).url) as client:
        assert client.reset().observation == {"count": 0}
        assert client.step({"a": 1}).observation["got"] == {"a": 1}
    with GenericEnvClient(scripted(counting).url).sync() as sync:
        assert sync.reset().observation == {"count": 0}


async def test_concurrent_coroutines_share_a_client(scripted: Start) -> None:
    async with GenericEnvClient(scripted(counting).url) as client:
        await client.reset()
        results = await asyncio.gather(*(client.step({"n": n}) for n in range(20)))
    assert [result.observation["got"]["n"] for result in results] == list(range(20))


async def test_mixing_the_two_is_refused(scripted: Start) -> None:
    client = GenericEnvClient(scripted(counting).url)
    await client.connect()
    with pytest.raises(RuntimeError, match="async mode"):
        client.sync().reset()
    await client.close()
    other = GenericEnvClient(scripted(counting).url)
    with other:
        with pytest.raises(RuntimeError, match="sync mode"):
            await other.__aenter__()


async def test_a_forgotten_await_is_told(scripted: Start) -> None:
    client = GenericEnvClient(scripted(counting).url)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        client.reset()


def test_a_client_from_a_loop_that_has_ended_goes_on_synchronously(scripted: Start) -> None:
    server = scripted(counting)

    async def bootstrap(episode: bool) -> GenericEnvClient:
        client = GenericEnvClient(server.url)
        await client.connect()
        if episode:
            await client.reset()
        return client

    import gc
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # about the sockets of the ended loops
        fresh = asyncio.run(bootstrap(False))
        assert fresh.reset().observation == {"count": 0}
        fresh.close()
        begun = asyncio.run(bootstrap(True))
        with pytest.raises(SessionLost, match="event loop"):
            begun.step({"a": 1})
        assert begun.sync().reset().observation == {"count": 0}
        assert begun.step({"a": 1}).observation["count"] == 1
        begun.close()
        gc.collect()


def test_a_lost_session_is_lost_until_reset_or_connect(scripted: Start) -> None:
    def dies(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request(), count=0)
        peer.request()

    server = scripted(dies, dies, counting)
    client = GenericEnvClient(server.url)
    client.reset()
    for _ in range(2):
        with pytest.raises(SessionLost):
            client.step({"a": 1})
    assert len(server.peers) == 1
    client.reset()
    assert len(server.peers) == 2
    with pytest.raises(SessionLost):
        client.step({"a": 1})
    client.connect()
    assert client.reset().observation == {"count": 0}
    assert len(server.peers) == 3
    client.close()


def test_a_closed_client_never_steps_into_a_new_session(scripted: Start) -> None:
    server = scripted(counting)
    client = GenericEnvClient(server.url)
    client.reset()
    client.close()
    with pytest.raises(OrderError, match="closed"):
        client.step({"a": 1})
    with pytest.raises(OrderError, match="closed"):
        client.state()
    assert client.reset().observation == {"count": 0}
    client.disconnect()
    with pytest.raises(OrderError):
        client.step({})
    client.connect()
    assert client.step({}).observation["count"] == 1
    client.close()
    client.close()


def test_the_message_timeout(scripted: Start) -> None:
    def slow(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request(), count=0)
        for _ in range(2):
            request = peer.request()
            time.sleep(0.15)
            peer.observe(request, count=1)
        peer.counter()

    client = GenericEnvClient(scripted(slow).url, message_timeout_s=0.1)
    client.reset()
    with pytest.raises(TimeoutError):
        client.step({})
    with pytest.raises(OrderError):
        client.step({})
    with pytest.raises(StepTimeoutError):
        client.reset()
    time.sleep(0.2)
    assert client.reset().observation == {"count": 0}
    client.close()


def test_a_deadline_of_one_step(scripted: Start) -> None:
    def slow(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request(), count=0)
        request = peer.request()
        time.sleep(0.2)
        peer.observe(request)

    client = GenericEnvClient(scripted(slow).url)
    client.reset()
    with pytest.raises(StepTimeoutError):
        client.step({}, timeout_s=0.05, ignored=1)
    client.close()


def test_errors_are_typed_and_are_runtime_errors(scripted: Start) -> None:
    def refuses(peer: Peer) -> None:
        peer.accept()
        data = {"message": "Invalid message", "code": "VALIDATION_ERROR", "errors": []}
        peer.send({"type": "error", "data": data}, peer.request())
        peer.counter()

    with GenericEnvClient(scripted(refuses).url) as client:
        with pytest.raises(InvalidActionError) as caught:
            client.step({"a": 1})
        assert isinstance(caught.value, RuntimeError)
        assert client.step({"a": 1}).observation["count"] == 1


def test_a_full_server(scripted: Start) -> None:
    def full(peer: Peer) -> None:
        peer.accept()
        data = {"message": "full", "code": "CAPACITY_REACHED", "active_sessions": 1, "max_sessions": 1}
        peer.send({"type": "error", "data": data})
        peer.close()

    client = GenericEnvClient(scripted(full, counting).url)
    with pytest.raises(SessionCapacityError):
        client.reset()
    assert client.reset().observation == {"count": 0}
    client.close()


def test_no_server() -> None:
    with pytest.raises(ConnectionError, match="Nothing answers"):
        GenericEnvClient("http://127.0.0.1:1").connect()
    with pytest.raises(ServerUnreachableError):
        GenericEnvClient("http://127.0.0.1:1").reset()


def test_new_sessions_are_closed_with_their_parent(scripted: Start) -> None:
    server = scripted(counting)
    with Typed(server.url, message_timeout_s=7.0, headers={"X-A": "1"}) as parent:
        child = parent.new_session()
        assert type(child) is Typed
        assert child._message_timeout == 7.0
        parent.reset()
        child.reset()
        child.step(CountAction())
        assert parent.state().step_count == 0
        assert len(server.peers) == 2
        assert server.peers[1].request_head.headers["x-a"] == "1"
    assert child._ws is None


async def test_new_sessions_asynchronously(scripted: Start) -> None:
    async with Typed(scripted(counting).url) as parent:
        child = await parent.new_session()
        assert (await child.reset()).observation.count == 0
    assert child._ws is None


def test_new_session_gives_a_subclass_only_what_it_takes(scripted: Start) -> None:
    class Narrow(GenericEnvClient):
        def __init__(self, base_url: str, connect_timeout_s: float = 10.0, provider: Any = None) -> None:
            super().__init__(base_url=base_url, connect_timeout_s=connect_timeout_s, provider=provider)

    with Narrow(scripted(counting).url, connect_timeout_s=4.0) as parent:
        assert parent.new_session()._connect_timeout == 4.0


def test_an_overridden_reset_is_used_by_both_clients(scripted: Start) -> None:
    class Own(GenericEnvClient):
        def reset(self, level: int = 3, **kwargs: Any) -> Any:
            return super().reset(level=level, **kwargs)

    seen: list[Any] = []

    def script(peer: Peer) -> None:
        peer.accept()
        while True:
            request = peer.request()
            seen.append(request["data"])
            peer.observe(request)

    client = Own(scripted(script).url)
    client.reset()
    client.sync().reset(level=5)
    client.close()
    assert seen == [{"level": 3}, {"level": 5}]


def test_coroutines_of_a_subclass_run_from_the_synchronous_client(scripted: Start) -> None:
    class Own(GenericEnvClient):
        greeting = "hello"

        async def twice(self, action: dict[str, Any]) -> int:
            await asyncio.sleep(0.001)
            await self.step(action)
            return int((await self.step(action)).observation["count"])

        async def _reset_async(self, **kwargs: Any) -> Any:
            await asyncio.sleep(0.001)
            return await super()._reset_async(**kwargs)

    before = threading.active_count()
    with Own(scripted(counting).url).sync() as client:
        client.reset()
        assert client.twice({"a": 1}) == 2
        assert client.step({"a": 1}).observation["count"] == 3
        assert client.greeting == "hello"
        with pytest.raises(AttributeError):
            _ = client.nonsense
    until(lambda: threading.active_count() <= before + 2)
    with Own(scripted(counting).url) as plain:
        assert plain.reset().observation == {"count": 0}


def test_a_subclass_with_a_connection_of_its_own(scripted: Start) -> None:
    class Socket:
        closed = False

        def close(self) -> None:
            self.closed = True

    class Own(GenericEnvClient):
        def connect(self) -> Any:
            if self._ws is None:
                self._ws = Socket()
            return self

    client = Own(scripted(counting).url)
    client.connect()
    theirs = client._ws
    assert client.reset().observation == {"count": 0}
    assert theirs.closed
    client.close()


def test_raw_messages(scripted: Start) -> None:
    class Own(GenericEnvClient):
        async def raw(self) -> dict[str, Any]:
            return await self._send_and_receive({"type": "state"})

    with Own(scripted(counting).url).sync() as client:
        assert client.raw() == {"type": "state", "data": {"episode_id": "e", "step_count": 0}}


def test_the_synchronous_client_is_one_per_client() -> None:
    client = GenericEnvClient("http://x")
    assert client.sync() is client.sync()
    assert isinstance(client.sync(), SyncEnvClient)
    assert client.sync().async_client is client
    assert client.sync()._step_payload({"a": 1}) == {"a": 1}


def test_a_session_named_in_the_url(scripted: Start) -> None:
    server = scripted(counting)
    client = GenericEnvClient(server.url)
    client._ws_url = f"{client._ws_url}?session_id=abc"
    client.reset()
    client.close()
    assert server.peers[0].request_head.query == "session_id=abc"


def test_a_unix_socket(scripted: Start, tmp_path: Any) -> None:
    with GenericEnvClient(scripted(counting, path=tmp_path / "s").url) as client:
        assert client.reset().observation == {"count": 0}


def test_every_error_is_an_openenv_error(scripted: Start) -> None:
    client = GenericEnvClient("http://127.0.0.1:1")
    for call in (client.connect, client.reset):
        with pytest.raises(OpenEnvError):
            call()


def test_the_synchronous_client_does_all_of_it(scripted: Start) -> None:
    client = Typed(scripted(counting).url).sync()
    with client:
        assert client.reset(seed=1).observation.count == 0
        assert client.step(CountAction(by=2)).observation.got == {"by": 2}
        assert client.state().step_count == 1
        other = client.new_session()
        assert other.reset().observation.count == 0
        payload = {"observation": {"count": 3}, "reward": None, "done": False}
        assert client._parse_result(payload).observation.count == 3
        assert client._parse_state({"step_count": 4}).step_count == 4
        client.disconnect()
        with pytest.raises(OrderError):
            client.step(CountAction())
        client.connect()
        assert client.step(CountAction()).observation.count == 1
    assert other._ws is None


def test_code_that_waits_is_refused_where_there_is_no_loop() -> None:
    from openenv.client.modes import completed
    from openenv.errors import UsageError

    class Later:
        def __await__(self) -> Any:
            yield

    async def waits() -> None:
        await Later()

    with pytest.raises(UsageError, match="event loop"):
        completed(waits())
