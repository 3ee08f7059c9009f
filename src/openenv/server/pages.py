"""The pages of a server without an interface of its own: ``/web`` and ``/docs``.

Each is one HTML document without script and without anything from elsewhere; its content security policy
says so. They give way to an author's pages at the same paths.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { padding: .8rem 1rem; border: 1px solid #8886; border-radius: .4rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884 }
details { margin: .4rem 0 }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def web_page(runtime: ServerRuntime, base_url: str) -> HTMLResponse:
    """What is served here and how to connect.

    Args:
        runtime: the server.
        base_url: the URL by which the page was reached.
    """
    metadata = runtime.spec.metadata()
    url = base_url.rstrip("/")
    token = ', token="..."' if runtime.settings.token else ""
    if runtime.settings.production:
        what = "This server runs in production mode: agents use its tools, nobody resets it from outside."
        how = f"POST {url}/mcp\nws{url.removeprefix('http')}/mcp"
    else:
        what = "Connect with the Python client, with any WebSocket client at <code>/ws</code>, or with HTTP."
        how = (
            "import openenv\n\n"
            f'with openenv.connect("{url}"{token}).sync() as env:\n'
            "    observation = env.reset(seed=1)\n"
            "    result = env.step(env.action_space.sample())"
        )
    parts = [
        f"<p>{escape(metadata.description)}</p>",
        f"<p>{what}</p>",
        f"<pre>{escape(how)}</pre>",
        '<p><a href="docs">Routes</a>, <a href="openapi.json">OpenAPI</a>, <a href="schema">schemas</a>, '
        '<a href="metadata">metadata</a>, <a href="health">health</a>, <a href="metrics">metrics</a></p>',
        _schema("Action", runtime.spec.action_schema()),
        _schema("Observation", runtime.spec.observation_schema()),
        _schema("State", runtime.spec.state_schema()),
    ]
    return _page(metadata.name, parts)


def docs_page(document: dict[str, Any]) -> HTMLResponse:
    """The routes of an OpenAPI document."""
    rows = "".join(_rows(document))
    parts = [
        '<p>The machine-readable form is <a href="openapi.json">openapi.json</a>. Beside these routes there '
        "are WebSockets at <code>/ws</code> and <code>/mcp</code>.</p>",
        f"<table><tr><th>Route</th><th>What it does</th></tr>{rows}</table>",
    ]
    return _page(str(document["info"]["title"]), parts)


def _rows(document: dict[str, Any]) -> Iterator[str]:
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            text = operation.get("summary") or operation.get("operationId") or ""
            more = operation.get("description") or ""
            yield (
                f"<tr><td><code>{escape(method.upper())} {escape(path)}</code></td>"
                f"<td>{escape(text)}<br>{escape(more)}</td></tr>"
            )


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2, default=str))
    return f"<details><summary>{name}</summary><pre>{text}</pre></details>"


def _page(title: str, parts: list[str]) -> HTMLResponse:
    text = escape(title)
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{text}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{text}</h1>{''.join(parts)}</body></html>\n",
        headers=HEADERS,
    )
