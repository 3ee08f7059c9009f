"""Framing by the RFC: a corpus of what a peer may and may not send, after Autobahn's sections."""

from __future__ import annotations

import time

import pytest

from openenv.errors import ProtocolError
from openenv.protocol import websocket as ws
from openenv.protocol.websocket import Binary, Close, Event, Frames, Ping, Pong, Text, WebSocketError

ROLES = ("server", "client")
ZERO_KEY = bytes(4)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, role: str = "server") -> bytes:
    """A frame as the peer of `role` sends it."""
    return ws.encode_frame(opcode, payload, fin=fin, mask=role == "server")


def head(first: int, second: int, *rest: int) -> bytes:
    return bytes((first, second, *rest))


def decode(data: bytes, role: str = "server", limit: int = ws.DEFAULT_MAX_MESSAGE_BYTES) -> list[Event]:
    frames = Frames(role, limit)  # type: ignore[arg-type]
    return frames.feed(data)


def decode_bytewise(data: bytes, role: str = "server") -> list[Event]:
    frames = Frames(role)  # type: ignore[arg-type]
    return [event for index in range(len(data)) for event in frames.feed(data[index : index + 1])]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, 131072])
@pytest.mark.parametrize(("opcode", "kind"), [(ws.TEXT, Text), (ws.BINARY, Binary)])
def test_a_message_of_any_length_arrives_whole(role: str, size: int, opcode: int, kind: type[Event]) -> None:
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    assert decode(frame(opcode, payload, role=role), role) == [kind(payload)]  # type: ignore[call-arg,arg-type]


@pytest.mark.parametrize("role", ROLES)
def test_bytes_arriving_one_at_a_time_make_the_same_events(role: str) -> None:
    data = b"".join(
        (
            frame(ws.TEXT, "κόσμε".encode(), role=role),
            frame(ws.BINARY, bytes(range(256)), role=role),
            frame(ws.PING, b"there?", role=role),
            frame(ws.TEXT, b"", role=role),
            frame(ws.CLOSE, b"\x03\xe8bye", role=role),
        )
    )
    expected = [
        Text("κόσμε".encode()),
        Binary(bytes(range(256))),
        Ping(b"there?"),
        Text(b""),
        Close(1000, "bye"),
    ]
    assert decode(data, role) == expected
    assert decode_bytewise(data, role) == expected


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_input_is_taken_and_not_kept(wrap: type) -> None:
    source = bytearray(frame(ws.TEXT, b"hello"))
    events = decode(wrap(source))
    source[:] = bytes(len(source))
    assert events == [Text(b"hello")]


def test_fragments_make_one_message() -> None:
    data = frame(ws.TEXT, b"frag", fin=False) + frame(ws.CONTINUATION, b"", fin=False)
    data += (
        frame(ws.CONTINUATION, b"ment")
        + frame(ws.BINARY, b"\xff", fin=False)
        + frame(ws.CONTINUATION, b"\xfe")
    )
    assert decode(data) == [Text(b"fragment"), Binary(b"\xff\xfe")]
    assert decode_bytewise(data) == [Text(b"fragment"), Binary(b"\xff\xfe")]


def test_control_frames_pass_between_fragments() -> None:
    data = (
        frame(ws.TEXT, b"one ", fin=False) + frame(ws.PING, b"p") + frame(ws.CONTINUATION, b"two ", fin=False)
    )
    data += frame(ws.PONG, b"q") + frame(ws.CONTINUATION, b"three") + frame(ws.TEXT, b"next")
    expected = [Ping(b"p"), Pong(b"q"), Text(b"one two three"), Text(b"next")]
    assert decode(data) == expected
    assert decode_bytewise(data) == expected


def test_a_multibyte_character_may_be_cut_between_fragments_and_frames() -> None:
    text = "aé€𐍈".encode()
    for cut in range(len(text)):
        data = frame(ws.TEXT, text[:cut], fin=False) + frame(ws.CONTINUATION, text[cut:])
        assert decode(data) == [Text(text)]


INVALID_UTF8 = [
    b"\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"cut short \xe2\x82",
]


@pytest.mark.parametrize("payload", INVALID_UTF8)
@pytest.mark.parametrize("cut", [None, 1])
def test_text_that_is_not_utf8_fails_with_1007(payload: bytes, cut: int | None) -> None:
    whole = frame(ws.TEXT, payload)
    parts = (
        [whole]
        if cut is None
        else [frame(ws.TEXT, payload[:cut], fin=False), frame(ws.CONTINUATION, payload[cut:])]
    )
    with pytest.raises(WebSocketError) as caught:
        decode(b"".join(parts))
    assert caught.value.close_code == 1007
    with pytest.raises(WebSocketError) as caught:
        decode_bytewise(b"".join(parts))
    assert caught.value.close_code == 1007


def test_invalid_text_fails_before_the_message_ends() -> None:
    frames = Frames("server")
    assert frames.feed(frame(ws.TEXT, b"fine so far", fin=False)) == []
    begun = ws.encode_frame(ws.CONTINUATION, b"\xf4\x90" + bytes(1000), mask=True)
    with pytest.raises(WebSocketError) as caught:
        frames.feed(begun[: 8 + 2])
    assert caught.value.close_code == 1007


@pytest.mark.parametrize("payload", INVALID_UTF8)
def test_binary_may_hold_anything(payload: bytes) -> None:
    assert decode(frame(ws.BINARY, payload)) == [Binary(payload)]


OFFENCES = {
    "reserved bit 1": head(0xC1, 0x80) + ZERO_KEY,
    "reserved bit 2": head(0xA1, 0x80) + ZERO_KEY,
    "reserved bit 3 on ping": head(0x99, 0x80) + ZERO_KEY,
    **{
        f"opcode {opcode:#x}": head(0x80 | opcode, 0x80) + ZERO_KEY
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "unmasked from a client": head(0x81, 0x01, 0x41),
    "unmasked ping from a client": head(0x89, 0x00),
    "fragmented ping": head(0x09, 0x80) + ZERO_KEY,
    "fragmented close": head(0x08, 0x80) + ZERO_KEY,
    "long ping": head(0x89, 0xFE, 0x00, 0x7E) + ZERO_KEY + bytes(126),
    "long close": head(0x88, 0xFE, 0x00, 0x7E) + ZERO_KEY + bytes(126),
    "continuation of nothing": frame(ws.CONTINUATION, b"x"),
    "continuation after the end": frame(ws.TEXT, b"x") + frame(ws.CONTINUATION, b"x"),
    "text inside a fragmented text": frame(ws.TEXT, b"x", fin=False) + frame(ws.TEXT, b"x"),
    "binary inside a fragmented text": frame(ws.TEXT, b"x", fin=False) + frame(ws.BINARY, b"x", fin=False),
    "16-bit length for 125 bytes": head(0x82, 0xFE, 0x00, 0x7D) + ZERO_KEY + bytes(125),
    "16-bit length for text": head(0x81, 0xFE, 0x00, 0x7D) + ZERO_KEY + bytes(125),
    "64-bit length for 65535 bytes": head(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF),
    "64-bit length for text": head(0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF),
    "64-bit length with its top bit": head(0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0) + ZERO_KEY,
    "close of one byte": frame(ws.CLOSE, b"\x03"),
    **{
        f"close code {code}": frame(ws.CLOSE, code.to_bytes(2, "big"))
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("data", OFFENCES.values(), ids=OFFENCES.keys())
def test_offences_fail_with_1002(data: bytes) -> None:
    for feed in (decode, decode_bytewise):
        with pytest.raises(WebSocketError) as caught:
            feed(data)
        assert caught.value.close_code == 1002
        assert isinstance(caught.value, ProtocolError)


def test_a_server_must_not_mask() -> None:
    with pytest.raises(WebSocketError, match="expected unmasked") as caught:
        decode(frame(ws.TEXT, b"x", role="server"), role="client")
    assert caught.value.close_code == 1002


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_close_codes_that_may_be_sent_arrive(code: int) -> None:
    assert decode(ws.close_frame(code, "why", mask=True)) == [Close(code, "why")]


def test_a_close_without_code_is_1005() -> None:
    assert decode(frame(ws.CLOSE)) == [Close(1005, "")]
    assert ws.close_frame(1005) == b"\x88\x00"


def test_the_reason_of_a_close_must_be_utf8() -> None:
    with pytest.raises(WebSocketError) as caught:
        decode(frame(ws.CLOSE, b"\x03\xe8\xff"))
    assert caught.value.close_code == 1007


def test_nothing_counts_after_the_close() -> None:
    frames = Frames("server")
    assert frames.feed(frame(ws.CLOSE) + frame(ws.TEXT, b"late") + b"\xff\xff") == [Close(1005, "")]
    assert frames.closed
    assert frames.feed(b"\xff garbage") == []


@pytest.mark.parametrize("opcode", [ws.TEXT, ws.BINARY])
@pytest.mark.parametrize("size", [100, 1000, 70000])
def test_the_limit_is_exact(opcode: int, size: int) -> None:
    assert len(decode(frame(opcode, bytes(size)), limit=size)) == 1
    with pytest.raises(WebSocketError) as caught:
        decode(frame(opcode, bytes(size + 1)), limit=size)
    assert caught.value.close_code == 1009


def test_the_limit_counts_all_fragments_and_acts_on_the_header() -> None:
    frames = Frames("server", 10)
    assert frames.feed(frame(ws.TEXT, b"123456", fin=False)) == []
    with pytest.raises(WebSocketError) as caught:
        frames.feed(head(0x80, 0x85))
    assert caught.value.close_code == 1009


def test_a_promised_length_allocates_nothing() -> None:
    frames = Frames("server", 1 << 62)
    assert frames.feed(head(0x82, 0xFF, 0x3F, *[0xFF] * 7) + ZERO_KEY + b"abc") == []


def test_what_came_before_an_offence_is_in_the_error() -> None:
    data = frame(ws.TEXT, b"good") + frame(ws.PING, b"p") + head(0x83, 0x80)
    with pytest.raises(WebSocketError) as caught:
        decode(data)
    assert caught.value.events == [Text(b"good"), Ping(b"p")]


def test_what_came_before_invalid_text_is_in_the_error() -> None:
    with pytest.raises(WebSocketError) as caught:
        decode(frame(ws.TEXT, b"good") + frame(ws.TEXT, b"\xff"))
    assert caught.value.events == [Text(b"good")]


def test_a_failed_connection_stays_failed() -> None:
    frames = Frames("server")
    with pytest.raises(WebSocketError):
        frames.feed(frame(ws.TEXT, b"good") + head(0x83, 0x80))
    with pytest.raises(WebSocketError) as caught:
        frames.feed(frame(ws.TEXT, b"fine"))
    assert caught.value.close_code == 1002
    assert caught.value.events == []


def test_control_frames_refuse_what_the_rfc_forbids() -> None:
    with pytest.raises(ValueError, match="125 bytes"):
        ws.ping_frame(bytes(126))
    with pytest.raises(ValueError, match="fin=False"):
        ws.encode_frame(ws.PONG, b"", fin=False)
    with pytest.raises(ValueError, match="may not be sent"):
        ws.close_frame(1006)


def test_a_long_reason_is_cut_at_a_character() -> None:
    (close,) = decode(ws.close_frame(1011, "é" * 100, mask=True))
    assert close == Close(1011, "é" * 61)


def test_every_client_frame_has_a_key_of_its_own() -> None:
    keys = {ws.text_frame(b"", mask=True)[2:6] for _ in range(50)}
    assert len(keys) == 50


@pytest.mark.parametrize("builder", [ws.ping_frame, ws.pong_frame, ws.binary_frame, ws.text_frame])
@pytest.mark.parametrize("role", ROLES)
def test_builders_make_what_the_other_side_reads(builder: object, role: str) -> None:
    (event,) = decode(builder(b"payload", role == "server"), role)  # type: ignore[operator]
    assert type(event).__name__.lower() in builder.__name__  # type: ignore[attr-defined]
    assert event.payload == b"payload"  # type: ignore[union-attr]


@pytest.mark.parametrize("fragment", [1460, 65536])
def test_long_messages_take_linear_time(fragment: int) -> None:
    def cpu_seconds(size: int) -> float:
        data = ws.encode_frame(ws.TEXT, bytes(size), mask=True)
        frames, events, begin = Frames("server"), [], time.process_time()
        for index in range(0, len(data), fragment):
            events = frames.feed(data[index : index + fragment])
        assert len(events[0].payload) == size  # type: ignore[union-attr]
        return time.process_time() - begin

    small = min(cpu_seconds(2 << 20) for _ in range(3))
    assert cpu_seconds(32 << 20) < 16 * small * 4 + 0.1
