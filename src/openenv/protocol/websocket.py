"""WebSocket framing (RFC 6455) without I/O: bytes in, events out, for both roles.

`Frames` is one direction of a connection: feed it what arrived, in pieces of any size, and it returns the
events that became complete. What a peer may not send raises `WebSocketError`, which carries the close code to
answer with and the events that came before the offence. The builders below it make the bytes to send.

Two paths lead through `feed`. While the connection is at rest (no frame, no message half-way), complete text
frames are cut straight out of the input: that is nearly every frame there is. Anything else (fragments,
control frames, frames that arrive in pieces, long frames, offences) takes the state machine, which adds every
payload byte once to the growing message and checks text as it comes, so a message of 100 MB in small pieces
costs linear time and memory in proportion to what has arrived, never to what a header promised.
"""

from __future__ import annotations

import codecs
import os
import struct
from typing import Literal

import msgspec

from openenv.errors import ProtocolError
from openenv.protocol.masking import apply_mask

DEFAULT_MAX_MESSAGE_BYTES = 100 * 1024 * 1024

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_OPCODES = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_FIN, _RESERVED, _CONTROL = 0x80, 0x70, 0x08
_FINAL_TEXT = _FIN | TEXT
_MASKED = 0x80
_MAX_CONTROL_BYTES = 125
_MAX_REASON_BYTES = 123

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_CODE = 1000, 1001, 1002, 1005
INVALID_TEXT, POLICY_VIOLATION, TOO_BIG, INTERNAL_ERROR = 1007, 1008, 1009, 1011
SERVICE_RESTART, TRY_AGAIN_LATER = 1012, 1013
_SENDABLE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class Text(msgspec.Struct, frozen=True, gc=False):
    """A complete text message.

    Attributes:
        payload: its UTF-8 bytes, already checked.
    """

    payload: bytes


class Binary(msgspec.Struct, frozen=True, gc=False):
    """A complete binary message.

    Attributes:
        payload: its bytes.
    """

    payload: bytes


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A ping, to be answered with a pong of the same payload.

    Attributes:
        payload: at most 125 bytes.
    """

    payload: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    """A pong.

    Attributes:
        payload: that of the ping it answers, or anything if unsolicited.
    """

    payload: bytes


class Close(msgspec.Struct, frozen=True, gc=False):
    """The peer's close frame: the last event of a connection.

    Attributes:
        code: its status code, 1005 if it gave none.
        reason: its words, possibly none.
    """

    code: int
    reason: str


Event = Text | Binary | Ping | Pong | Close


class WebSocketError(ProtocolError):
    """The peer broke RFC 6455, or a limit: the connection cannot go on.

    Attributes:
        close_code: the status code to close with (1002, 1007 or 1009).
        events: what was complete before the offence, in order.
    """

    def __init__(self, close_code: int, message: str = "", events: list[Event] | None = None) -> None:
        super().__init__(message or f"WebSocket connection failed with code {close_code}")
        self.close_code = close_code
        self.events: list[Event] = events or []


class Frames:
    """The incoming half of one WebSocket connection.

    Args:
        role: which side we are; a server demands masked frames, a client refuses them.
        max_message_bytes: longest message accepted, over all its fragments; a longer one raises 1009 as
            soon as a header announces it.
    """

    __slots__ = (
        "_at_rest",
        "_collected",
        "_error",
        "_fin",
        "_head",
        "_key",
        "_limit",
        "_masked",
        "_message_opcode",
        "_missing",
        "_opcode",
        "_text_check",
        "closed",
    )

    def __init__(
        self, role: Literal["server", "client"], max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    ) -> None:
        self._masked = _MASKED if role == "server" else 0
        self._limit = max_message_bytes
        self._at_rest = True
        self._head = b""  # the beginning of a frame header
        self._opcode = -1  # of the frame whose payload is arriving, -1 between frames
        self._fin = False
        self._missing = 0  # payload bytes of that frame still to come
        self._key = b""  # masking key, turned so that it fits the next byte; empty for no masking
        self._message_opcode = 0  # TEXT or BINARY while a message is being collected
        # One buffer per message and one per control frame: [message, control].
        self._collected = [bytearray(), bytearray()]
        self._text_check: codecs.IncrementalDecoder | None = None  # made for the first text it is needed for
        self._error: WebSocketError | None = None
        self.closed = False
        """Whether the peer's close frame has arrived; what follows it is ignored."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take what arrived and return what became complete.

        Args:
            data: the next bytes of the stream, any number of them.

        Raises:
            WebSocketError: the peer may not send this. Every later call raises it again, without events.
        """
        if type(data) is not bytes:
            data = bytes(data)
        events: list[Event] = []
        if not self._at_rest:
            return self._feed_slowly(data, 0, events)
        size, position, masked = len(data), 0, self._masked
        while size - position > 1 and data[position] == _FINAL_TEXT:
            length = data[position + 1] - masked
            start = position + 2
            if length == 126 and start + 2 <= size:
                length = data[start] << 8 | data[start + 1]
                start += 2
                if length < 126:
                    break
            elif length == 127 and start + 8 <= size:
                length = int.from_bytes(data[start : start + 8], "big")
                start += 8
                if length < 0x10000:
                    break
            elif not 0 <= length < 126:
                break
            if masked:
                start += 4
            end = start + length
            if end > size or length > self._limit:
                break
            payload = data[start:end]
            if masked:
                payload = apply_mask(payload, data[start - 4 : start])
            if not payload.isascii() and not _is_utf8(payload):
                raise self._fail(INVALID_TEXT, "a text message is not UTF-8", events)
            events.append(Text(payload))
            position = end
        if position == size:
            return events
        return self._feed_slowly(data, position, events)

    def _feed_slowly(self, data: bytes, position: int, events: list[Event]) -> list[Event]:
        if self._error is not None:
            raise WebSocketError(self._error.close_code, self._error.message)
        if self._head:
            data = self._head + data
            self._head = b""
        size = len(data)
        while position < size and not self.closed:
            try:
                if self._opcode < 0:
                    start = self._begin_frame(data, position)
                    if start < 0:
                        self._head = data[position:]
                        break
                    position = start
                position = self._take_payload(data, position)
                if self._missing == 0:
                    self._end_frame(events)
            except WebSocketError as error:
                raise self._fail(error.close_code, error.message, events) from None
        self._at_rest = not (self._head or self.closed or self._opcode >= 0 or self._message_opcode)
        return events

    def _begin_frame(self, data: bytes, position: int) -> int:
        """Read a frame header; return where its payload starts, or -1 if the header is incomplete."""
        available = len(data) - position
        first = data[position]
        opcode = first & 0x0F
        if first & _RESERVED:
            raise WebSocketError(PROTOCOL_ERROR, "a reserved bit is set, and no extension was negotiated")
        if opcode not in _OPCODES:
            raise WebSocketError(PROTOCOL_ERROR, f"opcode {opcode:#x} is reserved")
        if available < 2:
            return -1
        second = data[position + 1]
        if second & _MASKED != self._masked:
            expected, actual = ("masked", "unmasked") if self._masked else ("unmasked", "masked")
            raise WebSocketError(PROTOCOL_ERROR, f"expected {expected} frames, received one {actual}")
        length, start = second & 0x7F, position + 2
        if length > _MAX_CONTROL_BYTES:
            width, least = (2, 126) if length == 126 else (8, 0x10000)
            if opcode & _CONTROL:
                raise WebSocketError(PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
            if available < 2 + width:
                return -1
            length = int.from_bytes(data[start : start + width], "big")
            if length < least or length >> 63:
                raise WebSocketError(PROTOCOL_ERROR, f"length {length} is not encoded as the RFC says")
            start += width
        fin = bool(first & _FIN)
        self._check_sequence(opcode, fin, length)
        if self._masked:
            if len(data) < start + 4:
                return -1
            self._key = data[start : start + 4]
            start += 4
        self._opcode, self._fin, self._missing = opcode, fin, length
        if opcode == TEXT or opcode == BINARY:
            self._message_opcode = opcode
        return start

    def _check_sequence(self, opcode: int, fin: bool, length: int) -> None:
        if opcode & _CONTROL:
            if not fin:
                raise WebSocketError(PROTOCOL_ERROR, "a control frame is fragmented")
            return
        if opcode == CONTINUATION and not self._message_opcode:
            raise WebSocketError(PROTOCOL_ERROR, "a continuation frame continues nothing")
        if opcode != CONTINUATION and self._message_opcode:
            raise WebSocketError(PROTOCOL_ERROR, "a new message began inside a fragmented one")
        total = len(self._collected[0]) + length
        if total > self._limit:
            raise WebSocketError(TOO_BIG, f"a message of {total} bytes or more; the limit is {self._limit}")

    def _take_payload(self, data: bytes, position: int) -> int:
        """Add what is there of the frame's payload to its buffer; return where it ends in the data."""
        taken = min(self._missing, len(data) - position)
        piece = data[position : position + taken]
        if self._masked:
            piece = apply_mask(piece, self._key)
            turn = taken & 3
            self._key = self._key[turn:] + self._key[:turn]
        is_control = self._opcode >> 3
        self._collected[is_control] += piece
        self._missing -= taken
        if not is_control and self._message_opcode == TEXT:
            self._check_text(piece, self._fin and self._missing == 0)
        return position + taken

    def _check_text(self, piece: bytes, last: bool) -> None:
        if self._text_check is None:
            if piece.isascii():
                return
            self._text_check = _utf8_decoder()
        elif piece.isascii() and not self._text_check.getstate()[0]:
            return
        try:
            self._text_check.decode(piece, last)
        except UnicodeDecodeError:
            raise WebSocketError(INVALID_TEXT, "a text message is not UTF-8") from None

    def _end_frame(self, events: list[Event]) -> None:
        opcode, self._opcode = self._opcode, -1
        if opcode & _CONTROL:
            payload = bytes(self._collected[1])
            self._collected[1].clear()
            if opcode == CLOSE:
                events.append(_parse_close(payload))
                self.closed = True
            else:
                events.append(Ping(payload) if opcode == PING else Pong(payload))
        elif self._fin:
            payload = bytes(self._collected[0])
            self._collected[0] = bytearray()
            events.append(Text(payload) if self._message_opcode == TEXT else Binary(payload))
            self._message_opcode = 0

    def _fail(self, close_code: int, message: str, events: list[Event]) -> WebSocketError:
        self._error = WebSocketError(close_code, message, events)
        self._at_rest = False
        self._collected = [bytearray(), bytearray()]
        return self._error


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parse_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_sendable(code):
        raise WebSocketError(PROTOCOL_ERROR, f"close code {code} may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise WebSocketError(INVALID_TEXT, "the reason of a close frame is not UTF-8") from None


def is_sendable(code: int) -> bool:
    """Whether a close frame may carry this status code (RFC 6455 section 7.4 and the IANA registry)."""
    return code in _SENDABLE or 3000 <= code <= 4999


_SHORT_TEXT_HEADS = tuple(bytes((_FINAL_TEXT, length)) for length in range(126))
_medium_head = struct.Struct(">BBH").pack
_long_head = struct.Struct(">BBQ").pack


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    """One frame, ready to send.

    Args:
        opcode: one of the six of the RFC.
        payload: its payload; at most 125 bytes for a control frame.
        fin: False for all but the last fragment of a message.
        mask: mask it under a fresh random key, as clients must.
    """
    first, second, size = (_FIN if fin else 0) | opcode, _MASKED if mask else 0, len(payload)
    if opcode & _CONTROL and (size > _MAX_CONTROL_BYTES or not fin):
        raise ValueError(f"a control frame is one frame of at most 125 bytes, got {size} with fin={fin}")
    if size < 126:
        head = bytes((first, second | size))
    elif size < 0x10000:
        head = _medium_head(first, second | 126, size)
    else:
        head = _long_head(first, second | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return b"".join((head, key, apply_mask(payload, key)))


def text_frame(payload: bytes, mask: bool = False) -> bytes:
    """A complete text message in one frame.

    Args:
        payload: its UTF-8 bytes, not checked.
        mask: mask it, as clients must.
    """
    if not mask:
        size = len(payload)
        if size < 126:
            return _SHORT_TEXT_HEADS[size] + payload
        if size < 0x10000:
            return _medium_head(_FINAL_TEXT, 126, size) + payload
    return encode_frame(TEXT, payload, mask=mask)


def binary_frame(payload: bytes, mask: bool = False) -> bytes:
    """A complete binary message in one frame."""
    return encode_frame(BINARY, payload, mask=mask)


def ping_frame(payload: bytes = b"", mask: bool = False) -> bytes:
    """A ping of at most 125 bytes."""
    return encode_frame(PING, payload, mask=mask)


def pong_frame(payload: bytes = b"", mask: bool = False) -> bytes:
    """The answer to a ping: the same payload back."""
    return encode_frame(PONG, payload, mask=mask)


def close_frame(code: int = NORMAL, reason: str = "", mask: bool = False) -> bytes:
    """A close frame.

    Args:
        code: status code; 1005 sends none, which is also the way to echo a close without one.
        reason: a few words for a person; cut to the 123 bytes that fit.
        mask: mask it, as clients must.

    Raises:
        ValueError: the code may not be sent.
    """
    if code == NO_CODE:
        return encode_frame(CLOSE, b"", mask=mask)
    if not is_sendable(code):
        raise ValueError(f"close code {code} may not be sent")
    words = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
    return encode_frame(CLOSE, code.to_bytes(2, "big") + words, mask=mask)
