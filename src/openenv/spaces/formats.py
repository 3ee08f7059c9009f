"""The `format` keyword of JSON Schema: how to draw such a string, and how to recognise one."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import random
import re
import uuid
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

_WORDS = ("alpha", "bravo", "coral", "delta", "ember", "flint", "grove", "harbor", "ivory", "juniper")
_DAY = 86_400
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def word(rng: random.Random) -> str:
    """Return a short lower-case word, with a number half of the time."""
    return rng.choice(_WORDS) + (str(rng.randrange(100)) if rng.random() < 0.5 else "")


def _moment(rng: random.Random) -> dt.datetime:
    """Return a whole second between the years 2000 and 2100."""
    return _EPOCH + dt.timedelta(seconds=rng.randrange(100 * 365 * _DAY))


def _date_time(rng: random.Random) -> str:
    return _moment(rng).isoformat().replace("+00:00", "Z")


def _duration(rng: random.Random) -> str:
    return f"P{rng.randrange(30)}DT{rng.randrange(24)}H{rng.randrange(60)}M{rng.randrange(60)}S"


def _uuid(rng: random.Random, version: int = 4) -> str:
    bits = rng.getrandbits(128) & ~(0xF000 << 64 | 0xC000 << 48)
    return str(uuid.UUID(int=bits | version << 76 | 1 << 63))


def _host(rng: random.Random) -> str:
    return f"{word(rng)}.example.com"


def _uri(rng: random.Random) -> str:
    return f"https://{_host(rng)}/{word(rng)}"


def _ipv4(rng: random.Random) -> str:
    return str(ipaddress.IPv4Address(rng.getrandbits(32)))


def _ipv6(rng: random.Random) -> str:
    return str(ipaddress.IPv6Address(rng.getrandbits(128)))


def _ipv4network(rng: random.Random) -> str:
    return f"10.{rng.randrange(256)}.0.0/16"


def _path(rng: random.Random) -> str:
    return f"{word(rng)}/{word(rng)}.txt"


def _base64(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(rng.randrange(1, 12))).decode()


def _base64url(rng: random.Random) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(rng.randrange(1, 12))).decode()


DRAW: dict[str, Callable[[random.Random], str]] = {
    "date": lambda rng: _moment(rng).date().isoformat(),
    "date-time": _date_time,
    "time": lambda rng: _moment(rng).time().isoformat() + "Z",
    "duration": _duration,
    "email": lambda rng: f"{word(rng)}@example.com",
    "idn-email": lambda rng: f"{word(rng)}@example.com",
    "hostname": _host,
    "idn-hostname": _host,
    "uri": _uri,
    "url": _uri,
    "uri-reference": lambda rng: f"/{word(rng)}",
    "iri": _uri,
    "iri-reference": lambda rng: f"/{word(rng)}",
    "uuid": _uuid,
    **{f"uuid{version}": partial(_uuid, version=version) for version in range(1, 9)},
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "ipvanyaddress": _ipv4,
    "ipv4network": _ipv4network,
    "ipv6network": lambda rng: f"fd{rng.randrange(16, 256):02x}::/16",
    "ipvanynetwork": _ipv4network,
    "ipv4interface": lambda rng: f"{_ipv4(rng)}/24",
    "ipv6interface": lambda rng: f"{_ipv6(rng)}/64",
    "ipvanyinterface": lambda rng: f"{_ipv4(rng)}/24",
    "path": _path,
    "json-string": lambda rng: f'"{word(rng)}"',
    "json-pointer": lambda rng: f"/{word(rng)}",
    "regex": word,
    "base64": _base64,
    "byte": _base64,
    "base64url": _base64url,
    "color": lambda rng: f"#{rng.getrandbits(24):06x}",
}
"""Draws a string of each known format."""


def _date(text: str) -> object:
    return dt.date.fromisoformat(text)


def _looks_like(pattern: str) -> Callable[[str], object]:
    regex = re.compile(pattern)

    def check(text: str) -> object:
        if not regex.fullmatch(text):
            raise ValueError(text)
        return text

    return check


def _is_uri(text: str) -> object:
    if not urlsplit(text).scheme:
        raise ValueError(text)
    return text


_CHECK: dict[str, Callable[[str], object]] = {
    "date": _date,
    "date-time": dt.datetime.fromisoformat,
    "time": dt.time.fromisoformat,
    "email": _looks_like(r"[^@\s]+@[^@\s]+"),
    "uri": _is_uri,
    "url": _is_uri,
    "uuid": _looks_like(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
}


def has_format(text: str, name: str) -> bool:
    """Say whether `text` is of the format `name`; yes for a format that is not checked."""
    check = _CHECK.get(name)
    if check is None:
        return True
    try:
        check(text)
    except ValueError:
        return False
    return True
