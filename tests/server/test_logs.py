from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from openenv.server.logs import LOGGER_NAMES, configure_logging, log_event, logger, public_text


@pytest.fixture(autouse=True)
def restored_loggers() -> Iterator[None]:
    before = [
        (target, target.handlers, target.propagate, target.level)
        for target in map(logging.getLogger, LOGGER_NAMES)
    ]
    yield
    for target, handlers, propagate, level in before:
        target.handlers, target.propagate = handlers, propagate
        target.setLevel(level)


def test_text_lines_carry_the_facts() -> None:
    stream = io.StringIO()
    configure_logging("text", stream=stream)
    log_event(logger, logging.INFO, "session opened", session="ab", why="a b")
    line = stream.getvalue()
    assert 'INFO    session opened session=ab why="a b"\n' in line


def test_json_lines_are_objects() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log_event(logger, logging.WARNING, "slow %s step", seconds=1.5)
    entry = json.loads(stream.getvalue())
    assert entry["message"] == "slow %s step"
    assert entry["level"] == "warning"
    assert entry["logger"] == "openenv.server"
    assert entry["seconds"] == 1.5
    assert entry["time"].endswith("+00:00")


def test_the_level_holds() -> None:
    stream = io.StringIO()
    configure_logging("text", "warning", stream=stream)
    log_event(logger, logging.INFO, "quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_tracebacks_stay_in_the_log(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging(log_format, stream=stream)
    try:
        raise KeyError("missing")
    except KeyError:
        logger.exception("broken")
    assert "KeyError: 'missing'" in stream.getvalue()


def test_secrets_are_masked() -> None:
    stream = io.StringIO()
    configure_logging("text", token="s3cret", stream=stream)
    logging.getLogger("uvicorn.access").info('"GET %s" 200', "/ws?session_id=abc123&x=1")
    logger.info("given %s", "s3cret")
    text = stream.getvalue()
    assert "abc123" not in text
    assert "/ws?session_id=***&x=1" in text
    assert "s3cret" not in text


def test_standard_error_is_the_default_stream() -> None:
    handler = configure_logging()
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_public_text_hides_where_the_server_lives() -> None:
    inside = os.path.join(sys.prefix, "lib", "module.py")
    here = os.path.join(os.getcwd(), "data.csv")
    text = public_text(f"cannot read {inside} and {here} and /etc/hosts")
    assert sys.prefix not in text
    assert os.getcwd() not in text
    assert "data.csv" in text
    assert "/etc/hosts" in text


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_caller_sent_commands_no_terminal_and_begins_no_line(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging(log_format, stream=stream)
    log_event(logger, logging.WARNING, "refused", path="/a\x1b[2J\r\n\x85\u2028\x9b31m")
    try:
        raise ValueError("said \x1b]0;title\x07")
    except ValueError as problem:
        log_event(logger, logging.ERROR, "failed", cause=problem)
    text = stream.getvalue()
    assert not {char for char in text if not char.isprintable()} - {"\n", "\t"}
    assert sum("refused" in line or "/a" in line for line in text.splitlines()) == 1
    assert "\\u001b" in text
