"""Replay the exchanges that a page shows against the server that the page started.

``wire`` blocks, one connection each::

    > {"type": "reset", "data": {"seed": 1}}          what the client sends
    < {"type": "observation", "data": {"...": "..."}} what the server answers
    < close 1000                                      the server closes

``http`` blocks: the request line, header lines, a blank line and a JSON body, each behind ``>``; the answer's
status, headers of interest and body behind ``<``. All requests of a page share one cookie jar.

In what is expected, the string ``"..."`` stands for any value and the key ``"..."`` for any further keys. A
string ``"$name"`` stands for a value that the server chose: whatever it is where the name first appears, and
the same from then on, in what is sent as well, over all connections of the page.
Attributes of the fence: ``path`` (/ws), ``port`` (8000), ``subprotocol``.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from openenv.protocol.extended import Codec, JsonCodec, codec_of
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.packing import pack

ANY = "..."


def alike(expected: Any, actual: Any, chosen: dict[str, Any] | None = None) -> bool:
    """Whether `actual` is what `expected` shows; values of names are kept in `chosen`."""
    if expected == ANY:
        return True
    if chosen is not None and isinstance(expected, str) and expected.startswith("$"):
        return bool(chosen.setdefault(expected, actual) == actual)
    if isinstance(expected, dict) and isinstance(actual, dict):
        wanted = {key: value for key, value in expected.items() if key != ANY}
        if ANY not in expected and set(wanted) != set(actual):
            return False
        return all(key in actual and alike(value, actual[key], chosen) for key, value in wanted.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(
            alike(e, a, chosen) for e, a in zip(expected, actual, strict=True)
        )
    return bool(expected == actual and isinstance(expected, bool) == isinstance(actual, bool))


def turns(text: str) -> list[tuple[str, str]]:
    """The lines of an exchange as (direction, rest); a line without a direction continues the one before."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line[:1] in ("<", ">"):
            found.append((line[0], line[1:].strip()))
        elif line.strip():
            direction, before = found[-1]
            found[-1] = (direction, before + " " + line.strip())
    return found


def filled(message: Any, chosen: dict[str, Any]) -> Any:
    """A message to send, with the values of names in their places."""
    if isinstance(message, dict):
        return {key: filled(value, chosen) for key, value in message.items()}
    if isinstance(message, list):
        return [filled(value, chosen) for value in message]
    return chosen.get(message, message) if isinstance(message, str) else message


def replay_wire(text: str, port: int, attributes: dict[str, str], chosen: dict[str, Any]) -> None:
    """Send and compare the frames of one connection; those of MessagePack are shown as JSON.

    Raises:
        AssertionError: the server answers otherwise.
    """
    offered = [Subprotocol(attributes["subprotocol"])] if "subprotocol" in attributes else None
    codec = codec_of(attributes.get("subprotocol")) or JsonCodec()
    url = f"ws://127.0.0.1:{port}{attributes.get('path', '/ws')}"
    with connect(url, subprotocols=offered, open_timeout=10, close_timeout=5, proxy=None) as socket:
        assert socket.subprotocol == attributes.get("subprotocol")
        for direction, frame in turns(text):
            if direction == ">":
                socket.send(_to_send(frame, codec, chosen))
            elif frame.startswith("close "):
                _expect_close(socket, int(frame.split()[1]))
            else:
                answer = socket.recv(timeout=10)
                assert isinstance(answer, bytes) is codec.binary
                raw = answer if isinstance(answer, bytes) else answer.encode()
                shown = to_jsonable(codec.values(raw))
                assert alike(json.loads(frame), shown, chosen), f"expected {frame}\nreceived {shown}"


def _to_send(frame: str, codec: Codec, chosen: dict[str, Any]) -> str | bytes:
    try:
        message = filled(json.loads(frame), chosen)
    except ValueError:
        return frame
    return pack(message) if codec.binary else json.dumps(message)


def _expect_close(socket: Any, code: int) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
    received = closed.value.rcvd
    assert received is not None
    assert received.code == code, received


def replay_http(text: str, client: httpx.Client) -> None:
    """Send and compare the requests of one block.

    Raises:
        AssertionError: the server answers otherwise.
    """
    lines = turns(text)
    while lines:
        sent = _take(lines, ">")
        method, path = sent.pop(0).split()
        headers = dict(line.split(": ", 1) for line in sent if not line.startswith(("{", "[")) and line)
        body = next((line for line in sent if line.startswith(("{", "["))), None)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        answer = client.request(method, path, headers=headers, content=body)
        _compare(_take(lines, "<"), answer, f"{method} {path}")


def _take(lines: list[tuple[str, str]], direction: str) -> list[str]:
    taken = []
    while lines and lines[0][0] == direction:
        taken.append(lines.pop(0)[1])
    assert taken, f"expected a line that begins with {direction}"
    return taken


def _compare(expected: list[str], answer: httpx.Response, what: str) -> None:
    received = f"{what} answered {answer.status_code} {dict(answer.headers)}\n{answer.text}"
    assert answer.status_code == int(expected.pop(0).split()[0]), received
    for line in expected:
        if line.startswith(("{", "[")):
            assert alike(json.loads(line), answer.json()), f"expected {line}\n{received}"
        elif ": " in line and not line.startswith('"'):
            name, value = line.split(": ", 1)
            assert name in answer.headers, received
            assert value in (ANY, answer.headers[name]), received
        elif line:
            assert line in answer.text, received
