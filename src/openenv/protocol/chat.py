"""Chat messages and tokenizers, as text environments take them."""

from __future__ import annotations

from typing import Any, Protocol, TypedDict


class Message(TypedDict):
    """One message of a conversation.

    Attributes:
        role: who speaks: `system`, `user`, `assistant` or `tool`.
        content: what is said.
    """

    role: str
    content: str


class ModelTokenizer(Protocol):
    """What an environment needs of a model's tokenizer (those of `transformers` fit)."""

    def apply_chat_template(
        self,
        conversation: list[Message],
        tokenize: bool = True,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write a conversation in the model's format, as token ids or as text."""
        ...

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> str:
        """Turn token ids into text."""
        ...
