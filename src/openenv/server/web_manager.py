"""The environment behind a page: one session, driven by the page's buttons, with a log of its steps.

All visitors of a page share it: a published `gradio_builder` is handed one manager when the page is built.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from openenv.environment import Environment, describe
from openenv.protocol.jsonvalue import to_jsonable
from openenv.server.serialization import deserialize_action_with_preprocessing, serialize_observation
from openenv.server.web_fields import load_environment_metadata
from openenv.session import HostedSession, Session, ThreadHost
from openenv.types import Action, EnvironmentMetadata, Observation, StepResult

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

T = TypeVar("T")


class ActionLog(BaseModel):
    """One step as a page shows it.

    Attributes:
        timestamp: when, in ISO 8601.
        action: the action's fields.
        observation: the observation's fields, without reward and done.
        reward: its reward.
        done: whether the episode ended.
        step_count: which step it was.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    timestamp: str
    action: dict[str, Any]
    observation: dict[str, Any]
    reward: float | None = None
    done: bool
    step_count: int


class EpisodeState(BaseModel):
    """The episode as a page shows it.

    Attributes:
        episode_id: its id.
        step_count: steps taken.
        current_observation: fields of the last observation.
        action_logs: the last steps, oldest first.
        is_reset: whether no step was taken yet.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    episode_id: str | None = None
    step_count: int
    current_observation: dict[str, Any] | None = None
    action_logs: list[ActionLog] = Field(default_factory=list)
    is_reset: bool = True


class WebInterfaceManager:
    """One session for a page.

    A synchronous environment lives on a thread of its own; an asynchronous one on the loop that calls.

    Args:
        env: the environment; a class or factory is called where the environment will live.
        action_cls: its action model.
        observation_cls: its observation model.
        metadata: what it says about itself; asked if absent.

    Attributes:
        env: the environment instance.
        action_cls: see Args.
        observation_cls: see Args.
        metadata: see Args.
        episode_state: the episode so far.
        connected_clients: sockets that are sent every change.
    """

    MAX_ACTION_LOGS = 1000

    def __init__(
        self,
        env: Environment[Any, Any, Any] | Callable[[], Any],
        action_cls: type[Action],
        observation_cls: type[Observation],
        metadata: EnvironmentMetadata | None = None,
    ) -> None:
        self.action_cls = action_cls
        self.observation_cls = observation_cls
        self.episode_state = EpisodeState(step_count=0)
        self.connected_clients: list[WebSocket] = []
        self.env: Any = env if isinstance(env, Environment) else None
        factory = _factory_of(env) if isinstance(env, Environment) else env
        spec = describe(factory, action_type=action_cls, observation_type=observation_cls)
        self._spec = dataclasses.replace(spec, factory=partial(self._make, factory))
        self._session = Session(self._spec)
        self._turn = asyncio.Lock()
        self._hosted: HostedSession | None = None
        if spec.is_async:
            self._session.start()
        else:
            host = ThreadHost("openenv-web")
            self._hosted = HostedSession(self._session, host, owner="web", lease_s=float("inf"))
            self._hosted.call("start").result()
        self.metadata = metadata or load_environment_metadata(self.env)

    def _make(self, factory: Callable[[], Any]) -> Any:
        self.env = factory()
        return self.env

    async def reset_environment(self, reset_kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start an episode.

        Args:
            reset_kwargs: ``seed``, ``episode_id`` and options of the environment's `reset`.

        Returns:
            ``observation``, ``reward``, ``done``, and ``metadata`` if there is any.
        """
        options = dict(reset_kwargs or {})
        known = {name: options.pop(name) for name in ("seed", "episode_id") if name in options}
        result = await self._call("reset", **known, options=options)
        self.episode_state = EpisodeState(
            episode_id=self._episode_id(result),
            step_count=0,
            current_observation=_fields(result),
        )
        await self._send_state_update()
        return serialize_observation(result.observation)

    async def step_environment(self, action_data: dict[str, Any]) -> dict[str, Any]:
        """Take a step.

        Args:
            action_data: the action's fields; a form may have sent numbers and JSON as text.

        Returns:
            ``observation``, ``reward``, ``done``, and ``metadata`` if there is any.

        Raises:
            pydantic.ValidationError: the action does not fit; nothing ran.
        """
        action = deserialize_action_with_preprocessing(action_data, self.action_cls)
        result = await self._call("step", action=action)
        self._log(action, result)
        await self._send_state_update()
        return serialize_observation(result.observation)

    def get_state(self) -> dict[str, Any]:
        """Give the environment's public state."""
        if self._hosted is not None:
            state = self._hosted.call("state").result()
        else:
            state = self._spec.read_state(self.env)
        return state.model_dump() if isinstance(state, BaseModel) else dict(state)

    async def connect_websocket(self, websocket: WebSocket) -> None:
        """Accept a socket and send it the episode, now and after every change."""
        await websocket.accept()
        self.connected_clients.append(websocket)
        await self._send_state_update()

    async def disconnect_websocket(self, websocket: WebSocket) -> None:
        """Send a socket nothing more."""
        if websocket in self.connected_clients:
            self.connected_clients.remove(websocket)

    async def aclose(self) -> None:
        """Close the environment."""
        if self._hosted is None:
            await self._session.aclose()
        else:
            await self._hosted.acall("close")
            self._hosted.host.stop()

    async def _call(self, kind: str, **arguments: Any) -> StepResult[Any]:
        async with self._turn:
            if self._hosted is not None:
                return await self._hosted.acall(kind, **arguments)  # type: ignore[arg-type, no-any-return]
            call = self._session.areset if kind == "reset" else self._session.astep
            return await call(**arguments)

    async def _run_sync_in_thread_pool(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking function where the environment lives, so that it may touch it."""
        if self._hosted is None:
            return await asyncio.to_thread(func, *args, **kwargs)
        value: T = await self._hosted.acall("ask", name="page", question=lambda env: func(*args, **kwargs))
        return value

    def _log(self, action: Action, result: StepResult[Any]) -> None:
        state = self.episode_state
        count = result.step if result.step is not None else state.step_count + 1
        entry = ActionLog(
            timestamp=datetime.now(UTC).isoformat(),
            action=to_jsonable(action.model_dump(exclude={"metadata"})),
            observation=_fields(result),
            reward=None if result.reward is None else float(result.reward),
            done=result.done,
            step_count=count,
        )
        self.episode_state = EpisodeState(
            episode_id=self._episode_id(result),
            step_count=count,
            current_observation=entry.observation,
            action_logs=[*state.action_logs, entry][-self.MAX_ACTION_LOGS :],
            is_reset=False,
        )

    def _episode_id(self, result: StepResult[Any]) -> str | None:
        episode = self._session.episode
        return result.episode_id or (episode.id if episode is not None else None)

    async def _send_state_update(self) -> None:
        message = {"type": "state_update", "episode_state": self.episode_state.model_dump()}
        for client in list(self.connected_clients):
            try:
                await client.send_json(message)
            except RuntimeError:  # it closed meanwhile
                await self.disconnect_websocket(client)


def _factory_of(env: Environment[Any, Any, Any]) -> Callable[[], Any]:
    def factory() -> Environment[Any, Any, Any]:
        return env

    factory.factory_class = type(env)  # type: ignore[attr-defined]
    return factory


def _fields(result: StepResult[Any]) -> dict[str, Any]:
    seen: Mapping[str, Any] = to_jsonable(serialize_observation(result.observation)["observation"])
    return dict(seen)
