"""A persistent interpreter that runs code cell by cell, as a notebook does; untrusted after the first."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import io
import linecache
import os
import signal
import sys
import traceback
import types
from collections.abc import Coroutine
from typing import Any, TextIO

MAX_VALUE = 65536
MAX_TRACEBACK = 65536
MAX_IMAGES = 16 << 20


class _Counted(io.RawIOBase):
    """Descriptor 1 or 2; writes down how many bytes went where, in order."""

    def __init__(self, descriptor: int, name: str, order: list[list[Any]]) -> None:
        self._descriptor = descriptor
        self._name = name
        self._order = order

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        written = os.write(self._descriptor, data)
        order = self._order
        if order and order[-1][0] == self._name:
            order[-1][1] += written
        elif len(order) < 4096:
            order.append([self._name, written])
        return written


class Interpreter:
    """Names, streams and event loop of one session."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._cell = 0
        self._running = False
        self._order: list[list[Any]] = []
        self._runner: asyncio.Runner | None = None
        self._abandoned: list[Any] = []
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self.names = main.__dict__
        self.open_streams()
        signal.signal(signal.SIGINT, self._interrupt)

    def open_streams(self) -> None:
        """Python's streams on descriptors 0 to 2: lines go out at once, so that a kill loses none."""
        streams = {
            "stdin": open(0, encoding="utf-8", errors="replace", closefd=False),
            "stdout": self._stream(1, "stdout", "strict"),
            "stderr": self._stream(2, "stderr", "backslashreplace"),
        }
        for name, stream in streams.items():
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def _stream(self, descriptor: int, name: str, errors: str) -> TextIO:
        raw = io.BufferedWriter(_Counted(descriptor, name, self._order))
        return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=True)

    def after_fork(self) -> None:
        """In a branch: the event loop's kernel objects are shared with the parent and must not be touched."""
        self.owner = os.getpid()
        if self._runner is not None:
            self._abandoned.append(self._runner)
            self._runner = None
            asyncio.set_event_loop(None)

    def forget(self) -> None:
        """Forget what the cells before left in the interpreter's own books."""
        self._cell = 0
        self.names.pop("_", None)
        linecache.cache.clear()

    def run(self, code: str, stdin: bytes) -> tuple[dict[str, Any], bytes]:
        """Run one cell; returns what to say about it, and the images it made."""
        self._cell += 1
        self._order.clear()
        name = f"<cell {self._cell}>"
        reply: dict[str, Any] = {"ok": True}
        pictures: list[tuple[str, bytes]] = []
        if stdin:
            _feed(stdin)
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            try:
                self._running = True
                value = self._execute(code, name)
                if value is not None:
                    self.names["_"] = value
                    reply["value"] = repr(value)[:MAX_VALUE]
                    reply["type"] = type(value).__name__
                pictures = _pictures(value)
            finally:
                self._running = False
        except SystemExit as error:
            reply |= {"ok": False, "exit": _exit_code(error)}
        except BaseException as error:  # the boundary: whatever a cell raises is its result
            reply |= {"ok": False, "error": self._describe(error, name)}
        self._flush()
        if os.getpid() != self.owner:  # the cell forked and its child came back here
            os._exit(0)
        reply["order"] = self._order
        reply["cell"] = self._cell
        reply["images"] = [[kind, len(data)] for kind, data in pictures]
        return reply, b"".join(data for _, data in pictures)

    def _execute(self, code: str, name: str) -> Any:
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        tree = ast.parse(code, name)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        if tree.body:
            self._evaluate(tree, name, "exec")
        return None if last is None else self._evaluate(last, name, "eval")

    def _evaluate(self, tree: ast.Module | ast.Expression, name: str, mode: str) -> Any:
        compiled = compile(tree, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(compiled, self.names)  # noqa: S307 - running what was sent is the purpose
        if compiled.co_flags & inspect.CO_COROUTINE:
            return self._await(result)
        return result

    def _await(self, waiting: Coroutine[Any, Any, Any]) -> Any:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(waiting)

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self._running and os.getpid() == self.owner:
            raise KeyboardInterrupt

    def _describe(self, error: BaseException, name: str) -> dict[str, Any]:
        """The error with the frames of the model's code; also printed, as Python would."""
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        own = [] if frames is None else traceback.extract_tb(frames)
        line = next((entry.lineno for entry in reversed(own) if entry.filename == name), None)
        if isinstance(error, SyntaxError) and error.filename == name:
            line = error.lineno
        try:
            text = "".join(traceback.format_exception(type(error), error, frames))
            message = str(error)
        except BaseException as second:  # its own __str__ may be the model's too
            text = message = f"{type(error).__name__} (its text could not be made: {type(second).__name__})\n"
        text = text[-MAX_TRACEBACK:]
        try:
            sys.stderr.write(text)
        except BaseException:  # a cell may have closed or replaced the stream
            os.write(2, text.encode(errors="replace"))
        return {
            "type": type(error).__name__,
            "message": message[:MAX_VALUE],
            "traceback": text,
            "line": line,
            "interrupt": isinstance(error, KeyboardInterrupt),
        }

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: S112 - a cell may have closed or replaced it
                continue


def _feed(data: bytes) -> None:
    """Descriptor 0 reads `data`, for Python and for programs that it starts."""
    try:
        descriptor = os.open(os.environ.get("TMPDIR", "/tmp"), os.O_RDWR | os.O_TMPFILE, 0o600)  # noqa: S108
    except OSError:
        sys.stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace")
        return
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.dup2(descriptor, 0)
    finally:
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return int(error.code) & 0xFF
    os.write(2, f"{error.code}\n".encode(errors="replace"))
    return 1


def _pictures(value: Any) -> list[tuple[str, bytes]]:
    """PNG images of the figures that a cell left open, and of a last value that can draw itself."""
    found: list[tuple[str, bytes]] = []
    draw = getattr(value, "_repr_png_", None)
    if callable(draw) and not isinstance(value, type):
        data = draw()
        if isinstance(data, bytes):
            found.append(("image/png", data))
    plots = sys.modules.get("matplotlib.pyplot")
    if plots is not None:
        for number in plots.get_fignums():
            buffer = io.BytesIO()
            plots.figure(number).savefig(buffer, format="png")
            plots.close(number)
            found.append(("image/png", buffer.getvalue()))
    total = 0
    kept = []
    for kind, data in found:
        total += len(data)
        if total <= MAX_IMAGES:
            kept.append((kind, data))
    return kept
