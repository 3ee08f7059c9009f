"""Worker processes: what crosses between them and their pool, how they die, and what they leave behind."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pool.environments import (
    Alone,
    Camera,
    Child,
    Closing,
    Colour,
    Inner,
    Published,
    RichAction,
    Tools,
    Values,
    Walk,
    make_walk,
)

import openenv
from openenv.errors import (
    ConcurrencyConfigurationError,
    LaunchError,
    OpenEnvError,
    OrderError,
    ProtocolError,
    SessionLost,
    TargetError,
    UsageError,
)
from openenv.pool.local import LocalBackend
from openenv.types import StepResult

pytestmark = pytest.mark.timeout(180)
PATIENCE_S = 30.0


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def backend(pool: openenv.Pool) -> LocalBackend:
    inner = pool._backend
    assert isinstance(inner, LocalBackend)
    return inner


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"


def places(outcomes: list[Any]) -> list[Any]:
    return [o.observation.result if isinstance(o, StepResult) else type(o) for o in outcomes]


# What crosses --------------------------------------------------------------------------------------


def test_observations_are_those_of_a_session_in_this_process() -> None:
    with (
        openenv.make_pool(Values, n=1, workers=1) as there,
        openenv.make_pool(Values, n=1, workers=0) as here,
    ):
        for kind in range(6):
            if kind == 0:
                outcomes = [pool.reset(seeds=[3])[0] for pool in (here, there)]
            else:
                action = RichAction(inner=Inner(pair=(kind, "x"), colour=Colour.BLUE), theSize=kind)
                outcomes = [pool.step([action])[0] for pool in (here, there)]
            mine, theirs = outcomes
            assert isinstance(mine, StepResult)
            assert isinstance(theirs, StepResult), theirs
            for name in ("inner", "when", "names", "number", "reward", "done", "metadata"):
                assert getattr(theirs.observation, name) == getattr(mine.observation, name), name
                assert type(getattr(theirs.observation, name)) is type(getattr(mine.observation, name))
            assert type(theirs.observation) is type(mine.observation)
            assert (theirs.outcome, theirs.status, theirs.step) == (mine.outcome, mine.status, mine.step)
            if kind in (0, 1, 3, 5):
                expected = {0: None, 1: 1.5, 3: 2**80, 5: "?"}[kind]
                assert theirs.observation.anything == expected
            if kind == 2:
                assert theirs.observation.anything == "<strange>"
            if kind == 4:
                assert list(theirs.observation.anything[0]) == [0, 1, 2]


def test_published_environments_and_tools() -> None:
    from openenv.protocol.mcp_types import CallToolAction

    with openenv.make_pool(Published, n=2, workers=1) as pool:
        first = pool.reset(seeds=[4, None])
        assert first[0].observation.metadata == {"seed": 4}  # type: ignore[union-attr]
        outcome = pool.step([{}, {}])[1]
        assert isinstance(outcome, StepResult)
        assert (outcome.reward, outcome.metadata) == (1, {"count": 1})
    with openenv.make_pool(Tools, n=1, workers=1) as pool:
        pool.reset()
        (outcome,) = pool.step([CallToolAction(tool_name="double", arguments={"number": 4})])
        assert isinstance(outcome, StepResult), outcome
        assert outcome.observation.result["data"] == 8
        (outcome,) = pool.step([{"type": "call_tool", "tool_name": "triple"}])
        assert isinstance(outcome, StepResult)
        assert outcome.outcome == "invalid_action"


def test_arrays_come_by_shared_memory_and_stay_what_they_were() -> None:
    with openenv.make_pool(Camera, n=4, workers=2) as pool:
        pool.reset()
        kept = []
        for shade in range(12):
            outcomes = pool.step([{"shade": shade * 4 + n} for n in range(4)])
            kept.append([o.observation.image for o in outcomes])  # type: ignore[union-attr]
            assert [o.observation.tag for o in outcomes] == [str(shade * 4 + n) for n in range(4)]  # type: ignore[union-attr]
        for shade, images in enumerate(kept):
            for n, image in enumerate(images):
                assert image.shape == (84, 84, 4)
                assert image.dtype == np.uint8
                assert (image == shade * 4 + n).all()
        assert pool.statistics().shared_bytes > 0
        assert any(image.base is not None for image in kept[-1])
    assert (kept[5][2] == 22).all(), "arrays outlive their pool"


def test_blocks_are_used_again_when_nobody_holds_their_arrays() -> None:
    with openenv.make_pool(Camera, n=4, workers=1) as pool:
        pool.reset()
        for shade in range(30):
            outcomes = pool.step([{"shade": shade}] * 4)
        held = pool.statistics().shared_bytes
        for shade in range(30):
            outcomes = pool.step([{"shade": shade}] * 4)
            assert (outcomes[3].observation.image == shade).all()  # type: ignore[union-attr]
        assert pool.statistics().shared_bytes == held <= 3 * 256 * 1024


def test_arrays_without_shared_memory_are_the_same() -> None:
    with openenv.make_pool(Camera, n=2, workers=1, shared_memory_mib=0) as pool:
        pool.reset(options={"side": 300})
        for shade in range(4):
            outcomes = pool.step([{"shade": shade}] * 2)
            assert (outcomes[1].observation.image == shade).all()  # type: ignore[union-attr]
            assert outcomes[1].observation.image.shape == (300, 300, 4)  # type: ignore[union-attr]
        assert pool.statistics().shared_bytes == 0


def test_shared_memory_is_bounded_whatever_is_kept() -> None:
    with openenv.make_pool(Camera, n=2, workers=1, shared_memory_mib=1) as pool:
        pool.reset(options={"side": 200})
        kept = []
        for shade in range(20):
            kept += [o.observation.image for o in pool.step([{"shade": shade}] * 2)]  # type: ignore[union-attr]
        assert pool.statistics().shared_bytes <= 1 << 20
        assert [int(image[0, 0, 0]) for image in kept] == [n // 2 for n in range(40)]


def test_large_actions_and_observations_do_not_lock_up() -> None:
    text = "x" * 3_000_000
    with openenv.make_pool("echo", n=4, workers=2) as pool:
        pool.reset()
        action = {"type": "call_tool", "tool_name": "echo_message", "arguments": {"message": text}}
        for _ in range(2):
            pool.send([action] * 4)
            for ready in pool:
                assert isinstance(ready.outcome, StepResult)
                assert text in str(ready.outcome.observation.result)


def test_two_hundred_sessions() -> None:
    with openenv.make_pool(Walk, n=200, workers=2) as pool:
        assert places(pool.reset(seeds=0)) == [0] * 200
        assert (
            places(pool.step([{"by": n} for n in range(13)] + [{"by": 1}] * 187)) == [*range(13)] + [1] * 187
        )
        odd = list(range(1, 200, 2))
        pool.step([{"by": 2}] * 100, indices=odd)
        assert pool.statistics().steps == 300
        assert len(set(pool.workers)) == 2


# Targets -------------------------------------------------------------------------------------------

GAME = """
import openenv, os, sys

class Game(openenv.Environment):
    def reset(self) -> int:
        return os.getpid()

    def step(self, by: int) -> int:
        return by + 1
"""


def test_files_classes_factories_and_partials(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text(GAME)
    module = openenv.catalog.resolve_spec  # type: ignore[attr-defined]
    spec = module(str(tmp_path / "game.py"))
    for target in (tmp_path / "game.py", f"{tmp_path}/game.py:Game", spec.cls):
        with openenv.make_pool(target, n=2, workers=1) as pool:
            first = pool.reset()
            assert isinstance(first[0], StepResult)
            assert first[0].observation.result not in (0, os.getpid())
            assert type(first[0].observation) is type(first[1].observation)  # type: ignore[union-attr]
    for factory in (make_walk, functools.partial(Walk)):
        with openenv.make_pool(factory, n=2, workers=1) as pool:
            assert places(pool.reset()) == [0, 0]


def test_a_class_of_the_main_program(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        GAME
        + """
print("loaded as", __name__)
if __name__ == "__main__":
    with openenv.make_pool(Game, n=2, workers=2) as pool:
        pids = {outcome.observation.result for outcome in pool.reset()}
        assert len(pids) == 2 and os.getpid() not in pids
        print([o.observation.result for o in pool.step([1, 2])])
"""
    )
    output = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
    assert "[2, 3]" in output.stdout, output
    assert output.stdout.count("loaded as __main__") == 1


def test_what_a_worker_cannot_find_is_refused() -> None:
    class Local(Walk):
        pass

    with pytest.raises(UsageError, match="top of a module"):
        openenv.make_pool(Local, n=2, workers=1)
    with openenv.make_pool(Local, n=2, workers=0) as pool:
        assert places(pool.reset()) == [0, 0]
    from openenv.environment import describe

    with pytest.raises(UsageError, match="EnvironmentSpec"):
        openenv.make_pool(describe(Walk), n=2, workers=1)


def test_targets_and_options_that_make_no_sense() -> None:
    for problem, kind, call in [
        ("nonsense", TargetError, lambda: openenv.make_pool("nonsense", n=1)),
        ("n: expected", UsageError, lambda: openenv.make_pool(Walk, n=0)),
        ("workers: expected", UsageError, lambda: openenv.make_pool(Walk, n=1, workers=-1)),
        ("shared_memory_mib", UsageError, lambda: openenv.make_pool(Walk, n=1, shared_memory_mib=-1)),
        ("no URL", UsageError, lambda: openenv.make_pool(Walk, n=1, token="x")),
        ("list of URLs", UsageError, lambda: openenv.make_pool(["echo"], n=1)),
        ("host: expected", UsageError, lambda: openenv.make_pool(Walk, n=1, host="moon")),  # type: ignore[arg-type]
        ("this machine", UsageError, lambda: openenv.make_pool("http://127.0.0.1:9", n=1, workers=2)),
        (
            "process of its own",
            ConcurrencyConfigurationError,
            lambda: openenv.make_pool(Alone, n=3, workers=2),
        ),
    ]:
        with pytest.raises(kind, match=problem):
            call()


def test_instances_that_may_not_share_a_process_do_not() -> None:
    with openenv.make_pool(Alone, n=3) as pool:
        assert len(set(places(pool.reset()))) == 3
        assert len(set(pool.workers)) == 3


def test_an_environment_that_imports_here_but_not_there(tmp_path: Path) -> None:
    (tmp_path / "fickle.py").write_text(
        f"import os\nassert os.getpid() == {os.getpid()}, 'only there'\n{GAME}"
    )
    with pytest.raises(TargetError, match="only there"):
        openenv.make_pool(tmp_path / "fickle.py", n=1)
    (tmp_path / "deadly.py").write_text(f"import os\nif os.getpid() != {os.getpid()}: os._exit(4)\n{GAME}")
    with pytest.raises(LaunchError, match="ended"):
        openenv.make_pool(tmp_path / "deadly.py", n=1)


def test_an_import_that_starts_threads_forbids_forking(tmp_path: Path) -> None:
    threaded = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    (tmp_path / "threaded.py").write_text(threaded + GAME)
    with openenv.make_pool(tmp_path / "threaded.py", n=4, workers=2) as pool:
        assert set(places(pool.reset())) == set(pool.workers)
        pids = pool.workers
        for pid in pids:
            assert len(os.listdir(f"/proc/{pid}/task")) == 2, "its own thread, so it was not forked"
        os.kill(pids[0], signal.SIGKILL)
        outcomes = pool.step([1] * 4)
        assert places(outcomes) == [SessionLost, 2, SessionLost, 2]
        assert "SIGKILL" in str(outcomes[0])
    until(lambda: all(map(gone, pids)))


def test_it_starts_from_a_thread_that_ends() -> None:
    import threading

    made: list[openenv.Pool] = []
    thread = threading.Thread(target=lambda: made.append(openenv.make_pool(Walk, n=2, workers=2)))
    thread.start()
    thread.join()
    with made[0] as pool:
        time.sleep(0.2)
        assert places(pool.reset()) == [0, 0]


# Deaths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "how"), [(666, "SIGKILL"), (667, "SIGSEGV")])
def test_a_worker_that_dies_loses_its_own_sessions_only(by: int, how: str) -> None:
    with openenv.make_pool(Walk, n=6, workers=3) as pool:
        first = pool.reset()
        pool.step([{"by": 1}] * 6)
        outcomes = pool.step([{"by": by}, {"by": 1}, {"by": 1}], indices=[0, 1, 2])
        assert places(outcomes) == [SessionLost, 2, 2]
        assert isinstance(outcomes[0], SessionLost)
        assert how in str(outcomes[0])
        assert outcomes[0].retryable
        assert (outcomes[0].episode, outcomes[0].step) == (first[0].episode_id, 1)  # type: ignore[union-attr]
        # Slot 3 lived in the same worker and had no call: its next step says so, once.
        after = pool.step([{"by": 1}] * 6)
        assert places(after) == [OrderError, 3, 3, SessionLost, 2, 2]
        assert after[3].episode == first[3].episode_id  # type: ignore[union-attr]
        assert places(pool.step([{"by": 1}] * 6)) == [OrderError, 4, 4, OrderError, 3, 3]
        assert places(pool.reset(indices=[0, 3])) == [0, 0]
        assert places(pool.step([{"by": 1}] * 6)) == [1, 5, 5, 1, 4, 4]
        statistics = pool.statistics()
        assert (statistics.lost, statistics.replaced, statistics.workers) == (2, 1, 3)


def test_automatic_resets_follow_a_loss_that_was_told() -> None:
    for policy in ("next-step", "same-step"):
        with openenv.make_pool(Walk, n=2, workers=1, auto_reset=policy) as pool:  # type: ignore[arg-type]
            pool.reset(seeds=[1, 2])
            assert places(pool.step([{"by": 666}], indices=[0])) == [SessionLost]
            after = pool.step([{"by": 1}] * 2)
            assert places(after) == [0, SessionLost]
            assert after[0].step == 0  # type: ignore[union-attr]
            assert places(pool.step([{"by": 1}] * 2)) == [1, 0]


def test_kill_9_of_workers_in_the_middle_of_everything() -> None:
    with openenv.make_pool(Walk, n=12, workers=3, auto_reset="next-step") as pool:
        pool.reset(seeds=0)
        taken: dict[int, int] = dict.fromkeys(range(12), 0)
        where: dict[int, int] = dict.fromkeys(range(12), 0)
        pool.send([{"by": 1, "pause": 0.001}] * 12)
        kills = lost = 0
        for ready in pool:
            taken[ready.slot] += 1
            outcome = ready.outcome
            if isinstance(outcome, SessionLost):
                lost += 1
                where[ready.slot] = -1
            else:
                assert isinstance(outcome, StepResult), outcome
                if where[ready.slot] == -1:
                    assert (outcome.step, outcome.observation.result) == (0, 0), "a fresh one is reset first"
                else:
                    assert outcome.observation.result == where[ready.slot] + 1, "no step lost, none doubled"
                where[ready.slot] = outcome.observation.result
            if kills < 6 and sum(taken.values()) >= 60 * (kills + 1):
                os.kill(pool.workers[kills % 3], signal.SIGKILL)
                kills += 1
            if taken[ready.slot] < 60:
                pool.send([{"by": 1, "pause": 0.001}], indices=[ready.slot])
        assert set(taken.values()) == {60}
        assert kills == 6
        assert lost >= 4
        assert pool.statistics().lost == lost


def test_a_nursery_that_is_killed_is_replaced() -> None:
    with openenv.make_pool(Walk, n=2, workers=2) as pool:
        pool.reset()
        nursery = backend(pool)._workshop._process
        assert nursery is not None
        old = pool.workers
        nursery.kill()
        until(lambda: all(map(gone, old)))
        assert places(pool.step([{"by": 1}] * 2)) == [SessionLost, SessionLost]
        assert places(pool.reset()) == [0, 0]
        assert not set(old) & set(pool.workers)


def test_workers_that_always_die_do_not_spin() -> None:
    with openenv.make_pool(Walk, n=1, workers=1) as pool:
        for _ in range(5):
            pool.reset()
            assert places(pool.step([{"by": 666}])) == [SessionLost]
        assert pool.statistics().replaced == 5


def test_a_worker_that_dies_at_every_reset_ends_in_an_outcome(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(GAME.replace("return os.getpid()", "os._exit(7)"))
    with openenv.make_pool(tmp_path / "dies.py", n=2, workers=1) as pool:
        for _ in range(6):
            outcomes = pool.reset()
            assert places(outcomes) == [SessionLost, SessionLost]
            assert "exit status 7" in str(outcomes[0])


def test_a_stopped_worker_holds_up_only_itself() -> None:
    with openenv.make_pool(Walk, n=2, workers=2) as pool:
        pool.reset()
        os.kill(pool.workers[0], signal.SIGSTOP)
        pool.send([{"by": 1}] * 2)
        (ready,) = pool.recv()
        assert ready.slot == 1
        assert pool.recv(timeout_s=0.2) == []
        os.kill(pool.workers[0], signal.SIGCONT)
        assert pool.recv()[0].slot == 0


def test_words_that_are_not_of_the_protocol_lose_the_worker(tmp_path: Path) -> None:
    """An environment that writes to its worker's socket cannot make the pool do anything but replace it."""
    hostile = GAME.replace(
        "return by + 1",
        "\n".join(
            [
                "pass",
                "        import socket, stat, struct",
                "        for fd in range(3, 64):",
                "            try:",
                "                if stat.S_ISSOCK(os.fstat(fd).st_mode):",
                "                    os.write(fd, struct.pack('!I', by) + b'x' * min(by, 999))",
                "            except OSError:",
                "                pass",
                "        return by",
            ]
        ),
    )
    (tmp_path / "hostile.py").write_text(hostile)
    with openenv.make_pool(tmp_path / "hostile.py", n=1, workers=1) as pool:
        for size in (10, 999, 2**31):
            pool.reset()
            (outcome,) = pool.step([size])
            assert isinstance(outcome, SessionLost), outcome
            assert "cannot be read" in str(outcome) or "a frame of" in str(outcome)


@pytest.mark.parametrize("slot", [1.0, [0], "0", 5, True, None, 2**70])
def test_an_answer_for_no_slot_loses_the_worker(tmp_path: Path, slot: Any) -> None:
    """A worker that was taken over answers for slots that are none, or not its own."""
    import msgspec

    head = msgspec.msgpack.encode((None, 0, [], []))
    try:
        rows = msgspec.msgpack.encode([(slot, 2, {"message": "forged"})])
    except OverflowError:
        rows = msgspec.msgpack.encode([(float(slot), 2, {"message": "forged"})])
    frame = len(head).to_bytes(4) + head + rows
    hostile = GAME.replace(
        "return by + 1",
        "\n".join(
            [
                "pass",
                "        import stat",
                f"        frame = {len(frame).to_bytes(4) + frame!r}",
                "        for fd in range(3, 64):",
                "            try:",
                "                if stat.S_ISSOCK(os.fstat(fd).st_mode):",
                "                    os.write(fd, frame)",
                "            except OSError:",
                "                pass",
                "        return by",
            ]
        ),
    )
    (tmp_path / "forger.py").write_text(hostile)
    with openenv.make_pool(tmp_path / "forger.py", n=1, workers=1) as pool:
        pool.reset()
        (outcome,) = pool.step([1])
        assert isinstance(outcome, SessionLost), outcome


# What is left ----------------------------------------------------------------------------------------


def test_close_leaves_nothing(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    shared = set(os.listdir("/dev/shm"))
    pool = openenv.make_pool(Closing, n=4, workers=2)
    pool.reset(options={"folder": str(tmp_path)})
    pids = pool.workers
    pool.close()
    assert len(list(tmp_path.iterdir())) == 4, "every environment was closed"
    until(lambda: all(map(gone, pids)))
    assert set(os.listdir("/proc/self/fd")) <= before
    assert set(os.listdir("/dev/shm")) == shared


def test_what_a_worker_started_ends_with_it() -> None:
    pool = openenv.make_pool(Child, n=2, workers=1)
    children = places(pool.reset())
    assert not any(map(gone, children))
    pool.close()
    until(lambda: all(map(gone, children)))


def test_a_pool_that_is_dropped_is_closed() -> None:
    pool = openenv.make_pool(Walk, n=2, workers=1)
    pids = pool.workers
    del pool
    until(lambda: all(map(gone, pids)))


PARENT = """
import sys, time, os
import openenv
from tests.pool.environments import Camera, Child, Walk
pool = openenv.make_pool(Child, n=2, workers=2)
children = [outcome.observation.result for outcome in pool.reset()]
busy = openenv.make_pool(Walk, n=1, workers=1)
busy.reset()
busy.send([{"by": 1, "pause": 600.0}])
camera = openenv.make_pool(Camera, n=2, workers=1)
camera.reset(); camera.step([1, 2]); held = camera.step([1, 2])
assert camera.statistics().shared_bytes
if sys.argv[1] == "fork" and not os.fork():
    time.sleep(600)
nurseries = [p._backend._workshop._process.pid for p in (pool, busy, camera)]
workers = [pid for p in (pool, busy, camera) for pid in p._backend.pids]
print(os.getpid(), *children, *nurseries, *workers, flush=True)
if sys.argv[1] == "exit":
    sys.exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "exit", "fork"])
def test_nothing_outlives_the_process_of_the_pool(end: str) -> None:
    shared = set(os.listdir("/dev/shm"))
    command = [sys.executable, "-c", PARENT, end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        try:
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert len(pids) == 10
            if end != "exit":
                parent.kill()
            parent.wait(PATIENCE_S)
            until(lambda: all(map(gone, pids)))
        finally:
            if end == "fork":
                os.killpg(parent.pid, signal.SIGKILL)
    assert set(os.listdir("/dev/shm")) == shared


def test_ctrl_c_is_for_the_pool_and_not_for_its_workers() -> None:
    with openenv.make_pool(Walk, n=2, workers=1) as pool:
        pool.reset()
        assert os.getpgid(pool.workers[0]) != os.getpgid(0)
        nursery = backend(pool)._workshop._process
        assert nursery is not None
        nursery.send_signal(signal.SIGINT)
        os.kill(pool.workers[0], signal.SIGKILL)
        assert places(pool.step([{"by": 1}] * 2)) == [SessionLost, SessionLost]
        assert places(pool.reset()) == [0, 0]


def test_a_frame_that_no_worker_writes_is_refused() -> None:
    from openenv.environment import describe
    from openenv.pool.frames import ResultReader

    reader = ResultReader(describe(Walk), 1 << 20)
    for frame in (b"", b"\0\0\0\1x", b"\0\0\0\xff\x94", b"\0\0\0\5\x94\xc0\0\x90\x91\0\xdd\0\0\0\0"):
        with pytest.raises(ProtocolError, match="cannot be read"):
            reader.read(frame)
    assert issubclass(ProtocolError, OpenEnvError)


def test_twenty_deaths_leave_no_descriptor_and_no_memory() -> None:
    with openenv.make_pool(Camera, n=4, workers=2, auto_reset="next-step") as pool:
        pool.reset()
        for shade in range(4):
            pool.step([{"shade": shade}] * 4)
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(20):
            os.kill(pool.workers[turn % 2], signal.SIGKILL)
            for shade in range(4):
                pool.step([{"shade": shade}] * 4)
        assert pool.statistics().replaced == 20
        # A block that was just made keeps its descriptor until it has been sent: two per worker at most.
        assert len(os.listdir("/proc/self/fd")) <= before + 4
        assert pool.statistics().shared_bytes <= 2 * 3 * 256 * 1024
        maps = Path("/proc/self/maps").read_text().count("memfd:openenv-pool")
        assert maps <= 8, "blocks of dead workers are unmapped"
