"""Standard output and standard error of untrusted code, read through two pipes, bounded."""

from __future__ import annotations

import contextlib
import os

_CHUNK = 1 << 14
FLOOD = 64
"""Times the limit after which output is a flood."""


class Output:
    """Reading ends of two pipes and what came out of them.

    Args:
        limit: bytes kept of each.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.out, self.theirs_out = os.pipe2(os.O_CLOEXEC)
        self.err, self.theirs_err = os.pipe2(os.O_CLOEXEC)
        for descriptor in (self.out, self.err):
            os.set_blocking(descriptor, False)
        self.kept: dict[int, bytearray] = {self.out: bytearray(), self.err: bytearray()}
        self.dropped = 0

    def give_away(self) -> None:
        """Close the writing ends here; somebody inside has them now."""
        for descriptor in (self.theirs_out, self.theirs_err):
            os.close(descriptor)

    def start(self) -> int:
        """Begin anew; returns how many bytes had come since the last end."""
        late = 0
        for descriptor in (self.out, self.err):
            self.drain(descriptor)
        late = self.dropped + sum(map(len, self.kept.values()))
        for kept in self.kept.values():
            kept.clear()
        self.dropped = 0
        return late

    def drain(self, descriptor: int, most: int = 256) -> bool:
        """Read what is there; False at the end of the stream."""
        kept = self.kept[descriptor]
        for _ in range(most):
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            room = max(0, self.limit - len(kept))
            kept += data[:room]
            self.dropped += max(0, len(data) - room)
        return True

    def drain_both(self) -> None:
        """Read what is in both pipes."""
        self.drain(self.out)
        self.drain(self.err)

    @property
    def flooded(self) -> bool:
        """Whether far more came than is kept."""
        return self.dropped > FLOOD * self.limit

    def bytes(self) -> tuple[bytes, bytes]:
        """What was kept of each."""
        return bytes(self.kept[self.out]), bytes(self.kept[self.err])

    def close(self) -> None:
        """Close the reading ends."""
        for descriptor in (self.out, self.err):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def interleaved(out: bytes, err: bytes, order: object) -> tuple[tuple[str, str], ...]:
    """Both streams in the order that the session claims; what the claim does not cover comes last."""
    rest = {"stdout": memoryview(out), "stderr": memoryview(err)}
    parts: list[tuple[str, bytearray]] = []

    def take(name: str, count: int) -> None:
        data, rest[name] = rest[name][:count], rest[name][count:]
        if data and parts and parts[-1][0] == name:
            parts[-1][1].extend(data)
        elif data:
            parts.append((name, bytearray(data)))

    for entry in order if isinstance(order, list) else ():
        match entry:
            case ["stdout" | "stderr" as name, int(count)] if count > 0:
                take(name, count)
    for name in ("stdout", "stderr"):
        take(name, len(rest[name]))
    return tuple((name, data.decode("utf-8", "replace")) for name, data in parts)
