"""What a pool of 64 sessions costs, beside calls in this process and Gymnasium's vector environments.

CPU time of this process and of every worker, per step of one session. For images of 84x84x4 bytes, 64 in a
batch: what the pool costs more with them than without, beside what the same images cost as JSON lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import numpy as np

import openenv
from openenv import Environment, Observation
from openenv.pool import Pool
from openenv.protocol.plain import decode_reply, encode_result

from .context import Context, interleave, progress
from .process import cpu_ns

SESSIONS = 64
SHAPE = (84, 84, 4)
ACTION = {"message": "x" * 120, "tokens": list(range(10))}
Batch = Callable[[], object]


class Text(Observation):
    """About 200 bytes."""

    message: str = ""
    count: int = 0


class Echo(Environment):
    """Says what it is told."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Text:
        self._count = 0
        return Text(message="ready")

    def step(self, message: str, tokens: list[int]) -> Text:
        self._count += 1
        return Text(message=message, count=self._count, reward=1.0)


class Picture(Observation):
    """One image."""

    image: np.ndarray[Any, Any]


class Tag(Observation):
    """No image."""

    tag: str = ""


class Blind(Environment):
    """The camera without its image."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Tag:
        return Tag(tag="blind")

    def step(self, shade: int) -> Tag:
        return Tag(tag="blind", reward=1.0)


class Camera(Environment):
    """Shows the same image again and again, so that making it costs nothing."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Picture:
        self._image = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
        return Picture(image=self._image)

    def step(self, shade: int) -> Picture:
        return Picture(image=self._image, reward=1.0)


def run(context: Context) -> dict[str, Any]:
    """Measure; CPU in microseconds per step of one session, or per batch where the name says so."""
    progress("pool: 64 sessions that echo, and 64 images")
    rounds, batches = context.pick(9, 3), context.pick(200, 30)
    results = interleave(list(_CASES), rounds, lambda name: _measure(name, batches), str)
    shared_us = results["images_shared"]["cpu_us"]
    results["images"] = {
        "json_us": results["json_lists"]["cpu_us"] * SESSIONS,
        "pool_us": shared_us * SESSIONS,
        # What the same pool costs without images is not the price of bringing images across.
        "shared_us": max(0.1, shared_us - results["images_none"]["cpu_us"]) * SESSIONS,
    }
    return results


def _measure(name: str, batches: int) -> dict[str, float]:
    make, share = _CASES[name]
    count = max(1, int(batches * share))
    with make() as (batch, pids):
        for _ in range(max(1, min(20, count // 2))):
            batch()
        before = sum(map(cpu_ns, pids)) + time.process_time_ns()
        started = time.monotonic_ns()
        for _ in range(count):
            batch()
        wall = time.monotonic_ns() - started
        used = sum(map(cpu_ns, pids)) + time.process_time_ns() - before
    steps = count * SESSIONS
    return {"cpu_us": used / steps / 1000, "steps_per_s": steps / (wall / 1e9)}


@contextmanager
def _in_process() -> Iterator[tuple[Batch, list[int]]]:
    """As many environments, called one after another: what a step costs without any pool."""
    with ExitStack() as stack:
        envs = [stack.enter_context(openenv.make(Echo, host="inline")) for _ in range(SESSIONS)]
        for env in envs:
            env.reset()

        def batch() -> list[object]:
            return [env.step(ACTION) for env in envs]

        yield batch, []


@contextmanager
def _pool(target: Any, action: dict[str, Any], workers: int) -> Iterator[tuple[Batch, list[int]]]:
    with openenv.make_pool(target, n=SESSIONS, workers=workers) as pool:
        yield _stepping(pool, action), pool.workers


def _stepping(pool: Pool, action: dict[str, Any]) -> Batch:
    pool.reset()
    actions = [action] * SESSIONS
    return lambda: pool.step(actions)


@contextmanager
def _json_lists() -> Iterator[tuple[Batch, list[int]]]:
    """Images as a server writes and a client reads them on the plain protocol."""
    with openenv.make(Camera, host="inline") as env:
        env.reset()
        result = env.step(shade=0)

        def batch() -> None:
            for _ in range(SESSIONS):
                reply = decode_reply(encode_result(result))
                image = np.array(reply.data["observation"]["image"], np.uint8)
                assert image.shape == SHAPE

        yield batch, []


@contextmanager
def _gymnasium(kind: str) -> Iterator[tuple[Batch, list[int]]]:
    import gymnasium

    class Box(gymnasium.Env[Any, Any]):
        """The echo as a Gymnasium environment: a number in, a number out."""

        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (16,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return np.zeros(16, np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return np.zeros(16, np.float32), 1.0, False, False, {}

    vector = getattr(gymnasium.vector, kind)
    with closing(vector([Box] * SESSIONS)) as envs:
        envs.reset()
        actions = np.zeros(SESSIONS, np.int64)
        pids = [process.pid for process in getattr(envs, "processes", [])]
        yield lambda: envs.step(actions), pids


_CASES: dict[str, tuple[Callable[[], Any], float]] = {
    "in_process": (_in_process, 1.0),
    "pool_inline": (lambda: _pool(Echo, ACTION, 0), 1.0),
    "pool_1_worker": (lambda: _pool(Echo, ACTION, 1), 1.0),
    "pool_2_workers": (lambda: _pool(Echo, ACTION, 2), 1.0),
    "gymnasium_sync": (lambda: _gymnasium("SyncVectorEnv"), 1.0),
    "gymnasium_async": (lambda: _gymnasium("AsyncVectorEnv"), 0.25),
    "json_lists": (_json_lists, 0.01),
    "images_none": (lambda: _pool(Blind, {"shade": 0}, 1), 1.0),
    "images_shared": (lambda: _pool(Camera, {"shade": 0}, 1), 1.0),
}
"""What is measured, and the share of the batches it gets: slow ones get fewer."""
