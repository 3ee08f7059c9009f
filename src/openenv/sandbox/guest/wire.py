"""Frames between the supervisor, the init and the session: a JSON object, raw bytes, descriptors.

A frame is two big-endian lengths, the JSON text, then the payload. Descriptors travel with the first byte.
The receiver bounds both lengths before it allocates; whatever a hostile peer sends becomes a `WireError`.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

HEAD = struct.Struct(">II")
MAX_TEXT = 4 << 20
MAX_PAYLOAD = 64 << 20
_MAX_DESCRIPTORS = 16


class WireError(Exception):
    """What arrived is not a frame."""


@dataclass
class Frame:
    """One received frame.

    Attributes:
        message: the JSON object.
        payload: raw bytes.
        descriptors: received descriptors, close-on-exec, owned by the receiver.
    """

    message: dict[str, Any]
    payload: bytes = b""
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


def send(
    channel: socket.socket, message: dict[str, Any], payload: bytes = b"", descriptors: Sequence[int] = ()
) -> None:
    """Send a frame whole.

    Raises:
        OSError: the peer is gone.
    """
    text = json.dumps(message).encode()
    data = HEAD.pack(len(text), len(payload)) + text
    if len(payload) < 65536:
        data, payload = data + payload, b""
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
    sent = channel.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
    if sent < len(data):
        channel.sendall(data[sent:], socket.MSG_NOSIGNAL)
    if payload:
        channel.sendall(payload, socket.MSG_NOSIGNAL)


def receive(
    channel: socket.socket, *, max_text: int = MAX_TEXT, max_payload: int = MAX_PAYLOAD
) -> Frame | None:
    """Receive a frame, None at the end of the stream.

    Raises:
        WireError: something else than a frame arrived, or one that is too large.
        OSError: the connection broke, or its timeout passed.
    """
    descriptors: list[int] = []
    try:
        head = _exactly(channel, HEAD.size, descriptors)
        if head is None:
            _close(descriptors)
            return None
        text_length, payload_length = HEAD.unpack(head)
        if text_length > max_text or payload_length > max_payload:
            raise WireError(f"a frame of {text_length} + {payload_length} bytes")
        text = _exactly(channel, text_length, descriptors)
        payload = _exactly(channel, payload_length, descriptors)
        if text is None or payload is None:
            raise WireError("a frame that ends in the middle")
        return Frame(parse(text), payload, descriptors)
    except BaseException:
        _close(descriptors)
        raise


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object of a frame.

    Raises:
        WireError: it is something else.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a frame that is not JSON") from error
    if not isinstance(message, dict):
        raise WireError("a frame that is not an object")
    return message


def _exactly(channel: socket.socket, wanted: int, descriptors: list[int]) -> bytes | None:
    """`wanted` bytes; None if the stream ends before them."""
    if not wanted:
        return b""
    parts = bytearray()
    space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)
    while len(parts) < wanted:
        data, ancillary, _, _ = channel.recvmsg(
            min(wanted - len(parts), 1 << 20), space, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(raw[: len(raw) - len(raw) % 4])
                descriptors.extend(received)
        if not data:
            if parts:
                raise WireError("a frame that ends in the middle")
            return None
        parts += data
    return bytes(parts)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    descriptors.clear()
