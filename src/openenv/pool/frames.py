"""What a pool and a worker say to each other: calls one way, rows of results the other. Bytes, no I/O.

A frame of calls is msgpack: blocks that are free again, new, or to be dropped, then one entry per call.
A frame of results is a head (the block its arrays lie in, what did not fit, kinds of array and model
classes met for the first time) and rows. A row is short for the ordinary step of a running episode, and
carries every fact otherwise. Nothing is pickled: a worker that was taken over cannot run code in its pool.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from openenv.environment import EnvironmentSpec
from openenv.errors import OpenEnvError, ProtocolError
from openenv.pool.arrays import (
    INLINE,
    JSON_TEXT,
    SHARED,
    Reader,
    Writer,
    array_from_frame,
    array_in_frame,
    numpy_loaded,
)
from openenv.pool.calls import Answer, Arrival, Call
from openenv.pool.models import dumped, fields_of, find_model, is_plain, reader
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.plain import encode_json
from openenv.protocol.wire_errors import error_from_payload, error_payload
from openenv.types import EpisodeStatus, StepOutcome, StepResult

_STEP, _RESET = 0, 1
_ORDINARY, _FULL, _ERROR = 0, 1, 2
_LENGTH = struct.Struct("!I")
_ARRAY32 = struct.Struct("!BI")
_RUNNING, _OK = EpisodeStatus.RUNNING, StepOutcome.OK
_Ext = msgspec.msgpack.Ext


def _common(value: Any) -> Any:
    """What msgpack lacks, where no block is at hand."""
    numpy = numpy_loaded()
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return array_in_frame(value)
        if isinstance(value, numpy.generic):
            return value.item()
    if isinstance(value, BaseModel):
        return dumped(value)
    return to_jsonable(value)


def _as_json(value: Any) -> msgspec.msgpack.Ext:
    return _Ext(JSON_TEXT, encode_json(value))


def _from_ext(code: int, data: memoryview) -> Any:
    if code == INLINE:
        return array_from_frame(data)
    if code == JSON_TEXT:
        return json.loads(bytes(data))
    raise ProtocolError(f"a value of the unknown kind {code}")


_REFUSED = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What an encoder raises for a value that msgpack cannot carry."""


# Calls ---------------------------------------------------------------------------------------------

_encode_calls = msgspec.msgpack.Encoder(enc_hook=_common).encode
_decode_calls = msgspec.msgpack.Decoder(ext_hook=_from_ext).decode


def encode_calls(
    calls: Sequence[Call], free: Sequence[int] = (), new: Sequence[int] = (), drop: Sequence[int] = ()
) -> bytes:
    """Encode calls for a worker, with what it must know of its blocks."""
    try:
        rows = [
            (call.slot, _STEP, call.action, call.timeout_s) if type(call.action) is dict else _call(call)
            for call in calls
        ]
        return _encode_calls((free, new, drop, rows))
    except _REFUSED:
        return _encode_calls((free, new, drop, [_call(call, slowly=True) for call in calls]))


def _call(call: Call, *, slowly: bool = False) -> tuple[Any, ...]:
    data = call.action if call.kind == "step" else call.options
    if isinstance(data, BaseModel):
        data = dumped(data)
    if slowly:
        data = _as_json(data)
    if call.kind == "step":
        return (call.slot, _STEP, data, call.timeout_s)
    return (call.slot, _RESET, data, call.timeout_s, call.seed)


def decode_calls(frame: bytes) -> tuple[list[int], list[int], list[int], list[Call]]:
    """Decode a frame of calls: blocks free again, new, to be dropped; calls."""
    free, new, drop, rows = _decode_calls(frame)
    calls = [
        Call(row[0], "step", row[2], None, None, row[3])
        if row[1] == _STEP
        else Call(row[0], "reset", None, row[4], row[2], row[3])
        for row in rows
    ]
    return free, new, drop, calls


# Results, in the worker ------------------------------------------------------------------------------


class ResultWriter:
    """Encodes results, frame by frame.

    Args:
        spec: the environment, whose observation classes need no introduction.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.arrays = Writer()
        self._known = (spec.plan.observation.type, spec.plan.initial.type)
        self._classes: dict[type, int] = {}
        self._plain: dict[type, int] = {}
        self._news: list[Any] = []
        self._rows = bytearray()
        self._count = 0
        self._array: Any = None
        self._into = msgspec.msgpack.Encoder(enc_hook=self._hook).encode_into
        self._encode = msgspec.msgpack.Encoder().encode

    @property
    def count(self) -> int:
        """Rows in the frame."""
        return self._count

    def add(self, slot: int, answer: Answer) -> None:
        """Add a row."""
        if not self._count:
            self.arrays.begin()
            self._rows += b"\0\0\0\0\0"
        self._count += 1
        if isinstance(answer, OpenEnvError):
            self._into((slot, _ERROR, self._error(answer)), self._rows, -1)
            return
        before = len(self._rows)
        try:
            self._into(self._ordinary(slot, answer) or self._row(slot, answer), self._rows, -1)
        # Boundary: values of an author's classes are encoded here, and the step has run.
        except Exception:
            del self._rows[before:]
            self._into(self._row(slot, answer, slowly=True), self._rows, -1)

    def _ordinary(self, slot: int, result: StepResult[Any]) -> tuple[Any, ...] | None:
        """The short row, if the observation and the number of the step say all there is to say."""
        known = self._plain.get(type(result.observation))
        if (
            known is None
            or result.status is not _RUNNING
            or result.outcome is not _OK
            or not result.step
            or result.components
            or result.metadata
        ):
            return None
        data = result.observation.__dict__
        if data.get("reward", self) is not result.reward:
            return None
        return (slot, _ORDINARY, known, data, result.step)

    def _error(self, error: OpenEnvError) -> msgspec.msgpack.Ext:
        return _as_json({"session": error.session, **error_payload(error)})

    def frame(self) -> bytes:
        """The frame of all rows since the last one."""
        rows = self._rows
        _ARRAY32.pack_into(rows, 0, 0xDD, self._count)
        block = self.arrays.end()
        head = self._encode((block, self.arrays.wanted, self.arrays.news, self._news))
        frame = b"".join((_LENGTH.pack(len(head)), head, rows))
        self._news, self._count = [], 0
        rows.clear()
        return frame

    def _row(self, slot: int, result: StepResult[Any], *, slowly: bool = False) -> tuple[Any, ...]:
        observation = result.observation
        kind, data = None, observation
        if isinstance(observation, BaseModel):
            cls = type(observation)
            kind = self._classes.get(cls)
            if kind is None:
                kind = self._introduce(cls)
            data = fields_of(observation)
        if slowly:
            data = _as_json(data)
        return (
            slot,
            _FULL,
            kind,
            data,
            result.reward if not slowly else _as_json(result.reward),
            result.done,
            result.metadata if not slowly else _as_json(result.metadata),
            result.outcome.value,
            result.status.value,
            result.reason,
            result.components,
            result.seed if not slowly else _as_json(result.seed),
            result.episode_id,
            result.step,
        )

    def _introduce(self, cls: type[BaseModel]) -> int:
        number = self._classes[cls] = len(self._classes)
        if is_plain(cls):
            self._plain[cls] = number
        if cls in self._known:
            self._news.append(self._known.index(cls))
        else:
            self._news.append((cls.__module__, cls.__qualname__))
        return number

    def _hook(self, value: Any) -> Any:
        if type(value) is self._array or self._is_array(value):
            return self.arrays.put(value)
        return _common(value)

    def _is_array(self, value: Any) -> bool:
        numpy = numpy_loaded()
        if numpy is None:
            return False
        self._array = numpy.ndarray
        return isinstance(value, numpy.ndarray)


# Results, in the pool --------------------------------------------------------------------------------


class ResultReader:
    """Decodes the results of one worker.

    Args:
        spec: the environment.
        limit_bytes: how much shared memory the worker may have.
    """

    def __init__(self, spec: EnvironmentSpec, limit_bytes: int) -> None:
        self.arrays = Reader(limit_bytes)
        self._known = (spec.plan.observation.type, spec.plan.initial.type)
        self._readers: list[Callable[[dict[str, Any]], Any]] = []
        self._episodes: dict[int, tuple[int | None, str | None]] = {}
        self._rows = msgspec.msgpack.Decoder(list[list[Any]], ext_hook=self._hook).decode
        self._head = msgspec.msgpack.Decoder().decode

    def read(self, frame: bytes) -> tuple[list[Arrival], int]:
        """Read a frame.

        Returns:
            What arrived, and for how many bytes of arrays there was no block.

        Raises:
            ProtocolError: the frame is none that a worker of ours writes.
        """
        try:
            (length,) = _LENGTH.unpack_from(frame)
            block, wanted, kinds, classes = self._head(frame[4 : 4 + length])
            self.arrays.learn(kinds)
            self._readers += map(self._reader, classes)
            self.arrays.enter(block)
            rows = self._rows(memoryview(frame)[4 + length :])
            return self._arrivals(rows), int(wanted)
        # Boundary: the worker ran an author's code; whatever it sent must not end the pool.
        except Exception as problem:
            raise ProtocolError(
                f"a frame that cannot be read ({type(problem).__name__}: {problem})"
            ) from None
        finally:
            self.arrays.leave()

    def _arrivals(self, rows: list[list[Any]]) -> list[Arrival]:
        arrivals: list[Arrival] = []
        add, readers, episodes = arrivals.append, self._readers, self._episodes
        for row in rows:
            slot, form, content = row[0], row[1], row[2]
            if form == _ORDINARY:
                seed, episode = episodes[slot]
                data = row[3]
                seen, reward = readers[content](data), data["reward"]
                result: StepResult[Any] = StepResult(
                    seen, reward, False, None, _OK, _RUNNING, None, {}, seed, episode, row[4]
                )
                add((slot, result))
            elif form == _ERROR:
                error = error_from_payload(content)
                error.session = content.get("session")
                add((slot, error))
            else:
                add((slot, self._result(row)))
        return arrivals

    def _result(self, row: list[Any]) -> StepResult[Any]:
        slot, _, kind, data, reward, done, metadata, outcome, status, reason, parts, seed, episode, step = row
        observation = data if kind is None else self._readers[kind](data)
        self._episodes[slot] = (seed, episode)
        return StepResult(
            observation,
            reward,
            done,
            metadata,
            StepOutcome(outcome),
            EpisodeStatus(status),
            reason,
            parts,
            seed,
            episode,
            step,
        )

    def _reader(self, introduction: Any) -> Callable[[dict[str, Any]], Any]:
        cls: Any = None
        if isinstance(introduction, int):
            cls = self._known[introduction]
        else:
            cls = find_model(*introduction)
        if isinstance(cls, type) and issubclass(cls, BaseModel):
            return reader(cls)
        from openenv.client.models import GenericObservation

        return lambda data: GenericObservation.model_construct(**data)

    def _hook(self, code: int, data: memoryview) -> Any:
        return self.arrays.get(data) if code == SHARED else _from_ext(code, data)
