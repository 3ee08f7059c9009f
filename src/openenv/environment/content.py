"""The readable half of a tool result: `content` blocks in the published form."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json


def text_block(text: str) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": text, "annotations": None, "meta": None}


def content_blocks(value: Any, jsonable: Any) -> list[dict[str, Any]]:
    """Return the blocks of a value: one text, or the MCP blocks that the tool itself returned.

    Args:
        value: what the tool returned.
        jsonable: the same in its JSON form.
    """
    if value is None or value == []:
        return []
    if isinstance(value, (list, tuple)) and any(map(_is_block, value)):
        return [
            block
            for item, plain in zip(value, jsonable, strict=True)
            for block in content_blocks(item, plain)
        ]
    if _is_block(value):
        dumped: dict[str, Any] = value.model_dump(mode="json")
        return [dumped]
    return [text_block(jsonable if isinstance(jsonable, str) else to_json(jsonable).decode())]


def _is_block(value: Any) -> bool:
    """Whether a value is a content block of the `mcp` package; where that is not loaded, none is."""
    types = sys.modules.get("mcp.types")
    kind = getattr(types, "ContentBlock", None)
    return kind is not None and isinstance(value, BaseModel) and isinstance(value, kind)


def is_content(value: Any) -> bool:
    """Whether a value is content only, without structured data of its own."""
    return _is_block(value) or (isinstance(value, (list, tuple)) and any(map(_is_block, value)))
