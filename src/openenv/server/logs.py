"""Structured logs: one event is one line, as text for people or as one JSON object for machines.

`log_event(logger, level, "session opened", session=...)` carries its facts beside the message; both
formatters write them. Secrets never reach a line: the server's token is masked wherever it stands, and
so are session ids and tokens in the query strings that access logs repeat. What a caller sent can neither
begin a line of its own nor command the terminal that shows it: control characters are written as escapes.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import sys
from typing import Any, TextIO

from openenv.protocol.jsonvalue import to_jsonable

LOGGER_NAMES = ("openenv", "uvicorn", "uvicorn.access", "uvicorn.error")

logger = logging.getLogger("openenv.server")

_SECRET_PARAMETERS = re.compile(r"([?&](?:session_id|token)=)[^&\s\"']+")
_MASK = "***"
_CONTROLS = {
    code: f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
    if chr(code) not in "\t\n"
}
"""Control characters and line separators, but for those that a traceback needs."""


def log_event(
    target: logging.Logger, level: int, message: str, /, *, cause: BaseException | None = None, **facts: Any
) -> None:
    """Log one event with its facts.

    Args:
        target: the logger.
        level: a level of `logging`.
        message: what happened, without the facts.
        cause: an exception whose traceback is written.
        facts: JSON-able facts by name; those that are None are left out.
    """
    if target.isEnabledFor(level):
        known = {name: value for name, value in facts.items() if value is not None}
        target.log(level, "%s", message, exc_info=cause, extra={"facts": known})


class Redactor(logging.Filter):
    """Masks secrets in a record before any formatter sees it.

    Args:
        secrets: texts that must not be written.
    """

    def __init__(self, *secrets: str | None) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def redact(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return _SECRET_PARAMETERS.sub(rf"\g<1>{_MASK}", text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message; keep every record."""
        record.msg, record.args = self.redact(record.getMessage()), None
        return True


class TextFormatter(logging.Formatter):
    """``12:00:01 INFO  session opened session=ab12``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, with its traceback below it if it has one."""
        clock = dt.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        facts = "".join(f" {name}={_short(value)}" for name, value in _facts(record).items())
        line = f"{clock} {record.levelname:<7} {record.getMessage()}{facts}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line.translate(_CONTROLS)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the facts, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(to_jsonable(line), ensure_ascii=False).translate(_CONTROLS)


def configure_logging(
    log_format: str = "text", level: str = "info", *, token: str | None = None, stream: TextIO | None = None
) -> logging.Handler:
    """Send the server's and uvicorn's logs to one stream, in one form.

    Args:
        log_format: ``text`` or ``json``.
        level: least level that is written.
        token: the server's token, which is masked.
        stream: where to; None means standard error.

    Returns:
        The handler that now writes them.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(Redactor(token))
    for name in LOGGER_NAMES:
        target = logging.getLogger(name)
        target.handlers = [] if "." in name else [handler]
        target.propagate = "." in name
        target.setLevel(level.upper())
    return handler


def public_text(text: str) -> str:
    """Return an error's text without the paths of this installation.

    What an environment raised is told to the client, because its author needs it; where the server
    keeps its code is not. Paths below the interpreter and below the working directory lose that prefix.
    """
    for prefix in _private_prefixes():
        text = text.replace(prefix + os.sep, "")
    return text


def _private_prefixes() -> list[str]:
    found = {sys.prefix, sys.base_prefix, os.getcwd()}
    return sorted((path for path in found if len(path) > 1), key=len, reverse=True)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


def _short(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(char in text for char in ' "=\n') else text
