"""What crosses between a server and a session's process, and what does not."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pickle
import socket
import threading
import uuid
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, create_model

from openenv.session.passing import MAX_BYTES, Classes, dumps, loads, receive, send


class Colour(Enum):
    RED = "red"


class Bits(IntFlag):
    ONE = 1
    TWO = 2


class Item(BaseModel):
    name: str
    colour: Colour = Colour.RED


@dataclass
class Pair:
    left: int
    right: int


Unnamed: Any = create_model("Unnamed", number=(int, ...))
CLASSES = Classes()


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "x", b"y", (True, None)]},
        {1, 2},
        Item(name="n"),
        [Colour.RED, Bits.ONE | Bits.TWO],
        Pair(1, 2),
        Unnamed(number=3),
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        decimal.Decimal("1.5"),
        uuid.UUID(int=7),
    ],
)
def test_values_cross(value: Any) -> None:
    assert loads(dumps(value, CLASSES), CLASSES, trusted=False) == value
    assert loads(dumps(value, CLASSES), CLASSES, trusted=True) == value


def test_arrays_cross() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    back = loads(dumps({"a": array, "s": np.int64(3)}, CLASSES), CLASSES, trusted=False)
    assert (back["a"] == array).all()
    assert back["s"] == 3


class Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    "attack",
    [
        Attack(os.system, "echo taken"),
        Attack(eval, "1"),
        Attack(getattr, "x", "upper"),
        Attack(socket.socket),
        Attack(Attack, print),
        Attack(__import__, "this"),
    ],
)
def test_nothing_is_called_for_what_is_not_trusted(attack: Any) -> None:
    for data in (pickle.dumps(attack), pickle.dumps([{"deep": attack}])):
        with pytest.raises(pickle.UnpicklingError, match="is no value"):
            loads(data, CLASSES, trusted=False)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05K\x07Q.", pickle.dumps(1)[:-1], b"\x80\x05]Q."])
def test_malformed_data_is_refused(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        loads(data, CLASSES, trusted=False)


def test_classes_made_later_are_unknown() -> None:
    later = create_model("Later", number=(int, ...))
    assert CLASSES.identity(later) is None
    assert CLASSES.identity(3) is None
    with pytest.raises(pickle.PicklingError):
        dumps(later(number=1), CLASSES)


def test_messages_of_any_length_arrive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for length in (0, 1, 70_000, 3_000_000):
            data = os.urandom(length)
            sender = threading.Thread(target=send, args=(ours, data))
            sender.start()
            assert receive(theirs) == data
            sender.join()
        ours.sendall((MAX_BYTES + 1).to_bytes(8))
        with pytest.raises(EOFError):
            receive(theirs)
        ours.sendall(b"\0" * 7 + b"\x05ab")
        ours.close()
        with pytest.raises(EOFError):
            receive(theirs)
    with pytest.raises(EOFError):
        receive(theirs)
