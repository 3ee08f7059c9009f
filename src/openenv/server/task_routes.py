"""Routes by which a trainer discovers an environment's tasks: splits, how many, which.

Tasks come from the environment's declared provider or, as published ones do it, from methods of the
environment itself; then some instance of it is asked.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from openenv.errors import OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.messages import GetTaskRangeRequest, GetTaskRequest, ListTasksRequest, NumTasksRequest
from openenv.server import openapi
from openenv.server.http import parse, validate
from openenv.server.http_errors import BodyError, error_response

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

_SPLIT_TYPES = frozenset({"train", "validation", "test"})


class TaskRoutes:
    """The task routes of one environment.

    Args:
        runtime: the server.
        name: what the environment is called in their paths.
    """

    def __init__(self, runtime: ServerRuntime, name: str) -> None:
        self._runtime = runtime
        self._name = name

    def register(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        tags: list[Any] = ["Task API"]
        app.get("/list_environments", tags=tags, summary="Names of the environments")(self._environments)
        app.get("/{env_name}/splits", tags=tags, summary="Splits of the tasks")(self._splits)
        for action, model, summary, endpoint in (
            ("tasks", ListTasksRequest, "Tasks of a split", self._tasks),
            ("num_tasks", NumTasksRequest, "How many tasks a split has", self._num_tasks),
            ("task", GetTaskRequest, "One task", self._task),
            ("task_range", GetTaskRangeRequest, "A slice of a split's tasks", self._task_range),
        ):
            app.post(
                f"/{{env_name}}/{action}",
                tags=tags,
                summary=summary,
                openapi_extra=openapi.body(model.model_json_schema(), required=True),
            )(endpoint)

    async def _environments(self) -> list[str]:
        return [self._name]

    async def _splits(self, env_name: str) -> Response:
        return await self._answer(env_name, "list_splits", (), lambda found: [_split(one) for one in found])

    async def _tasks(self, env_name: str, request: Request) -> Response:
        def shape(tasks: Any) -> Any:
            return {"tasks": tasks, "env_name": self._name}

        return await self._posted(env_name, request, ListTasksRequest, "list_tasks", shape)

    async def _num_tasks(self, env_name: str, request: Request) -> Response:
        return await self._posted(
            env_name, request, NumTasksRequest, "num_tasks", lambda count: {"num_tasks": count}
        )

    async def _task(self, env_name: str, request: Request) -> Response:
        return await self._posted(env_name, request, GetTaskRequest, "get_task", lambda task: {"task": task})

    async def _task_range(self, env_name: str, request: Request) -> Response:
        return await self._posted(
            env_name, request, GetTaskRangeRequest, "get_task_range", lambda tasks: {"tasks": tasks}
        )

    async def _posted(
        self, env_name: str, request: Request, model: type[BaseModel], method: str, shape: Any
    ) -> Response:
        try:
            given = validate(model, parse(await request.body()))
        except BodyError as problem:
            return problem.response()
        arguments = tuple(getattr(given, name) for name in model.model_fields)
        return await self._answer(env_name, method, arguments, shape)

    async def _answer(self, env_name: str, method: str, arguments: tuple[Any, ...], shape: Any) -> Response:
        if env_name.lower() != self._name.lower():
            return _detail(404, f"unknown environment {env_name!r}")
        try:
            found = await self._ask(method, arguments)
        except NotImplementedError:
            return _detail(501, f"{method} is not supported for this environment")
        except IndexError:
            return _detail(400, "Invalid task index")
        except OpenEnvError as error:
            if isinstance(error.__cause__, NotImplementedError):
                return _detail(501, f"{method} is not supported for this environment")
            if isinstance(error.__cause__, IndexError):
                return _detail(400, "Invalid task index")
            return error_response(self._runtime.presentable(error))
        return JSONResponse(to_jsonable(shape(found)))

    async def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        spec = self._runtime.spec
        if spec.tasks is not None:
            return await _call(getattr(spec.tasks, method), arguments)
        if spec.cls is not None and not callable(getattr(spec.cls, method, None)):
            raise NotImplementedError(method)

        def question(env: Any) -> Any:
            asked = getattr(env, method, None)
            if not callable(asked):
                raise NotImplementedError(method)
            return asked(*arguments)

        return await self._runtime.consult(method, question)


async def _call(method: Any, arguments: tuple[Any, ...]) -> Any:
    """Call a provider's method, which may read files, off the loop; await it if it is asynchronous."""
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    found = await asyncio.to_thread(method, *arguments)
    return await found if inspect.isawaitable(found) else found


def _split(split: Any) -> Any:
    if isinstance(split, str):
        return {"name": split, "type": split if split in _SPLIT_TYPES else "validation"}
    if isinstance(split, BaseModel | Mapping):
        return split
    return {"name": str(split), "type": "validation"}


def _detail(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
