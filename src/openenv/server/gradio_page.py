"""The Gradio page of published environments: the author's own, beside a plain form over the same session.

Gradio is imported inside functions only; it comes with the extra `gradio`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openenv.errors import MissingExtraError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.server.web_fields import get_gradio_display_title as get_gradio_display_title
from openenv.types import EnvironmentMetadata

if TYPE_CHECKING:
    import gradio as gr

    from openenv.server.web_manager import WebInterfaceManager

    OPENENV_GRADIO_THEME: gr.themes.Base

OPENENV_GRADIO_CSS = ".gradio-container { max-width: 1120px !important; margin: 0 auto !important; }"
"""Style of the page: a readable width."""

GradioBuilder = Callable[..., Any]
"""``(web_manager, action_fields, metadata, is_chat_env, title, quick_start_md) -> gr.Blocks``."""


def has_gradio() -> bool:
    """Whether Gradio is installed."""
    spec = importlib.util.find_spec("gradio")
    return spec is not None and spec.origin is not None  # a mere folder of that name is importable too


def import_gradio() -> Any:
    """Import Gradio.

    Raises:
        MissingExtraError: it is not installed.
    """
    if not has_gradio():
        raise MissingExtraError("the Gradio page", "gradio")
    import gradio

    return gradio


def __getattr__(name: str) -> Any:
    if name == "OPENENV_GRADIO_THEME":
        return import_gradio().themes.Default()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def build_gradio_app(
    web_manager: WebInterfaceManager,
    action_fields: list[dict[str, Any]],
    metadata: EnvironmentMetadata | None,
    is_chat_env: bool,
    title: str = "OpenEnv Environment",
    quick_start_md: str | None = None,
) -> gr.Blocks:
    """Build a plain page: a form for the action, buttons to reset and step, and what came back.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr = import_gradio()

    async def reset() -> str:
        return await _shown(gr, web_manager.reset_environment())

    async def step(*values: Any) -> str:
        entered = zip(action_fields, values, strict=True)
        action = {field["name"]: value for field, value in entered if value not in (None, "")}
        return await _shown(gr, web_manager.step_environment(action))

    with gr.Blocks(title=title) as page:
        gr.Markdown(f"# {title}\n\n{metadata.description if metadata is not None else ''}")
        with gr.Row():
            with gr.Column():
                inputs = [_input(gr, field) for field in action_fields]
                with gr.Row():
                    reset_button = gr.Button("Reset")
                    step_button = gr.Button("Step", variant="primary")
            output = gr.Code(label="Result", language="json")
        gr.Markdown(quick_start_md or "")
        reset_button.click(reset, outputs=[output])
        step_button.click(step, inputs=inputs, outputs=[output])
    return page


async def _shown(gr: Any, call: Any) -> str:
    try:
        return json.dumps(to_jsonable(await call), indent=2)
    except Exception as problem:  # boundary: whatever the environment raises is shown to the visitor
        raise gr.Error(f"{type(problem).__name__}: {problem}") from problem


def _input(gr: Any, field: dict[str, Any]) -> Any:
    label = f"{field['name']}{' *' if field['required'] else ''}"
    common = {"label": label, "info": field["help_text"] or None, "value": field["default_value"]}
    if field["type"] == "select":
        return gr.Dropdown(choices=field["choices"], **common)
    if field["type"] == "checkbox":
        return gr.Checkbox(**{**common, "value": bool(field["default_value"])})
    if field["type"] == "number":
        return gr.Number(minimum=field["min_value"], maximum=field["max_value"], **common)
    default = field["default_value"]
    text = default if isinstance(default, str) or default is None else json.dumps(default)
    lines = 5 if field["type"] == "textarea" else 1
    return gr.Textbox(lines=lines, placeholder=field["placeholder"], **{**common, "value": text})


def combine(gr: Any, own: Any, default: Any | None, own_name: str, own_first: bool, title: str) -> Any:
    """Put the author's page and the plain one into tabs; without a plain one, the author's stands alone."""
    if default is None:
        return own
    tabs = [(default, "Playground"), (own, own_name)]
    if own_first:
        tabs.reverse()
    return gr.TabbedInterface([page for page, _ in tabs], [name for _, name in tabs], title=title)
