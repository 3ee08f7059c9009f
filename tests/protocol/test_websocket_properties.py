"""Whatever arrives, in whatever pieces: the same events, or one typed error."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from openenv.protocol import websocket as ws
from openenv.protocol.masking import apply_mask, xor_mask
from openenv.protocol.websocket import Binary, Close, Event, Frames, Ping, Pong, Text, WebSocketError

Role = Literal["server", "client"]
roles = st.sampled_from(["server", "client"])
payloads = st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=120, max_size=130),
    st.integers(65530, 65540).map(lambda size: (bytes(range(256)) * 257)[:size]),
)
texts = st.text(max_size=60).map(str.encode)
controls = st.one_of(
    st.builds(Ping, st.binary(max_size=125)),
    st.builds(Pong, st.binary(max_size=125)),
)
messages = st.one_of(st.builds(Text, texts), st.builds(Binary, payloads))


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[Event, list[int], list[Event]]]:
    """Messages, where each is to be cut into fragments, and the control frames sent between fragments."""
    script: list[tuple[Event, list[int], list[Event]]] = []
    for message in draw(st.lists(messages, max_size=6)):
        cuts = draw(st.lists(st.integers(0, len(message.payload)), max_size=4).map(sorted))
        script.append((message, cuts, draw(st.lists(controls, max_size=len(cuts)))))
    return script


def write(script: list[tuple[Event, list[int], list[Event]]], mask: bool) -> tuple[bytes, list[Event]]:
    data, expected = bytearray(), list[Event]()
    build: dict[type, Callable[[bytes, bool], bytes]] = {Ping: ws.ping_frame, Pong: ws.pong_frame}
    for message, cuts, between in script:
        assert isinstance(message, (Text, Binary))
        edges = [0, *cuts, len(message.payload)]
        pending = list(between)
        opcode = ws.TEXT if isinstance(message, Text) else ws.BINARY
        for index, (start, end) in enumerate(itertools.pairwise(edges)):
            last = index == len(edges) - 2
            data += ws.encode_frame(opcode, message.payload[start:end], fin=last, mask=mask)
            opcode = ws.CONTINUATION
            if pending and not last:
                control = pending.pop(0)
                assert isinstance(control, (Ping, Pong))
                data += build[type(control)](control.payload, mask)
                expected.append(control)
        expected.append(message)
    return bytes(data), expected


def feed_in_pieces(frames: Frames, data: bytes, cuts: list[int]) -> list[Event]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    events: list[Event] = []
    for start, end in itertools.pairwise(edges):
        events += frames.feed(data[start:end])
    return events


@given(script=scripts(), role=roles, cuts=st.lists(st.integers(0, 1 << 20), max_size=20))
def test_any_split_of_any_messages_decodes_the_same(
    script: list[tuple[Event, list[int], list[Event]]], role: Role, cuts: list[int]
) -> None:
    data, expected = write(script, mask=role == "server")
    assert feed_in_pieces(Frames(role), data, []) == expected
    assert feed_in_pieces(Frames(role), data, cuts) == expected


def outcome(role: Role, data: bytes, cuts: list[int], limit: int) -> tuple[list[Event], int | None]:
    frames, events = Frames(role, limit), list[Event]()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        try:
            events += frames.feed(data[start:end])
        except WebSocketError as error:
            return events + error.events, error.close_code
    return events, None


frame_like = st.builds(
    lambda first, second, rest: bytes((first, second)) + rest,
    st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0x08, 0xC1, 0x83]),
    st.integers(0, 255),
    st.binary(max_size=30),
)
garbage = st.one_of(st.binary(max_size=400), st.lists(frame_like, max_size=8).map(b"".join))


@settings(max_examples=400)
@given(
    data=garbage,
    role=roles,
    cuts=st.lists(st.integers(0, 500), max_size=8),
    limit=st.sampled_from([0, 5, 1 << 20]),
)
def test_garbage_yields_events_or_one_typed_error_whatever_the_split(
    data: bytes, role: Role, cuts: list[int], limit: int
) -> None:
    whole = outcome(role, data, [], limit)
    assert outcome(role, data, cuts, limit) == whole
    assert all(isinstance(event, (Text, Binary, Ping, Pong, Close)) for event in whole[0])
    for event in whole[0]:
        if isinstance(event, Text):
            event.payload.decode()


@given(data=payloads, key=st.binary(min_size=4, max_size=4))
def test_both_masks_agree_and_undo_themselves(data: bytes, key: bytes) -> None:
    assert xor_mask(data, key) == apply_mask(data, key)
    assert xor_mask(xor_mask(data, key), key) == data
