"""Reads frames from a peer that may be hostile: never waits, never allocates what was only announced."""

from __future__ import annotations

import array
import os
import select
import socket
import time

from .guest.wire import HEAD, Frame, WireError, parse

_CHUNK = 1 << 14
"""Small enough that memory for it need not be asked of the kernel each time."""
_SPACE = socket.CMSG_SPACE(64 * 4)


class Reader:
    """The receiving side of one channel.

    Args:
        channel: where bytes come from.
        max_text: longest JSON text.
        max_payload: longest payload.
    """

    def __init__(self, channel: socket.socket, max_text: int, max_payload: int) -> None:
        self._channel = channel
        self._limits = (max_text, max_payload)
        self._held = bytearray()
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def read(self) -> Frame | None:
        """Take in what has arrived; a frame if one is whole. Descriptors that came along are closed.

        Raises:
            WireError: something else than a frame arrived.
            EOFError: the stream has ended.
        """
        while True:
            frame = self._whole()
            if frame is not None:
                return frame
            try:
                data, ancillary, _, _ = self._channel.recvmsg(_CHUNK, _SPACE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                raise EOFError from error
            _close_received(ancillary)
            if not data:
                if self._held:
                    raise WireError("a frame that ends in the middle")
                raise EOFError
            self._held += data

    def wait(self, seconds: float) -> Frame | None:
        """As `read`, waiting for at most `seconds`.

        Raises:
            WireError: something else than a frame arrived.
            EOFError: the stream has ended.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._poll.poll(left * 1000):
                frame = self.read()
                if frame is not None:
                    return frame
        return None

    def silent(self) -> bool:
        """Whether nothing at all has arrived since the last frame."""
        return not self._held and not self._poll.poll(0)

    def _whole(self) -> Frame | None:
        held = self._held
        if len(held) < HEAD.size:
            return None
        text, payload = HEAD.unpack_from(held)
        if text > self._limits[0] or payload > self._limits[1]:
            raise WireError(f"a frame of {text} + {payload} bytes")
        end = HEAD.size + text + payload
        if len(held) < end:
            return None
        raw = bytes(memoryview(held)[HEAD.size : end])
        del held[:end]
        return Frame(parse(raw[:text]), raw[text:])


def _close_received(ancillary: list[tuple[int, int, bytes]]) -> None:
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(raw[: len(raw) - len(raw) % 4])
            for descriptor in received:
                os.close(descriptor)
