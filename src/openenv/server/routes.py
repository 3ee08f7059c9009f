"""Small GET routes by table, as published servers define theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass
class GetEndpointConfig:
    """One GET route.

    Attributes:
        path: where it is.
        handler: called without arguments; returns the reply.
        response_model: model of the reply, or dict.
        tag: heading in the OpenAPI page.
        summary: its title there.
        description: what it answers.
    """

    path: str
    handler: Callable[[], BaseModel | dict[str, Any]]
    response_model: type[BaseModel] | type[dict[str, Any]]
    tag: str
    summary: str
    description: str


def register_get_endpoints(app: FastAPI, configs: Sequence[GetEndpointConfig]) -> None:
    """Add routes to an application."""
    for config in configs:
        app.get(
            config.path,
            response_model=config.response_model,
            tags=[config.tag],
            summary=config.summary,
            description=config.description,
        )(config.handler)
