"""What is left when a sandbox, its parent or the server ends: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openenv.sandbox import Limits, Packages, Sandbox, Status
from openenv.sandbox.guest.tree import parents
from openenv.sandbox.warm import WarmParent

LIMITS = Limits(wall_s=30)


@pytest.fixture(params=["namespaces", "confined", "plain"])
def parent(request: pytest.FixtureRequest) -> Iterator[WarmParent]:
    made = WarmParent(request.param, Packages(), groups=request.param != "plain")
    yield made
    made.close()


def below(pid: int) -> set[int]:
    table = parents()
    found = {pid}
    for _ in range(10):
        found |= {child for child, up in table.items() if up in found}
    return found - {pid}


def wait_until(condition: object, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_a_kill_leaves_no_process_folder_or_descriptor(parent: WarmParent) -> None:
    Sandbox(parent, None, LIMITS).kill()
    processes = below(os.getpid())
    descriptors = set(os.listdir("/proc/self/fd"))
    mounts = Path("/proc/self/mountinfo").read_text()
    sandbox = Sandbox(parent, None, LIMITS)
    sandbox.exec(
        "import subprocess\nfor _ in range(5): subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    )
    sandbox.fork(2)
    sandbox.run(["sh", "-c", "setsid sleep 1000 & exit 0"])
    assert len(below(os.getpid())) > len(processes)
    sandbox.kill()
    assert wait_until(lambda: below(os.getpid()) <= processes)
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert parent._folder is None or os.listdir(parent._folder) == []
    assert parent.groups is None or all(group.empty() for group in parent.groups._spare)


def test_a_hundred_lives_leave_the_parent_as_it_was(parent: WarmParent) -> None:
    def cycle() -> None:
        with Sandbox(parent, None, LIMITS) as sandbox:
            assert sandbox.exec("1").ok

    def memory() -> int:
        total = 0
        for pid in below(os.getpid()):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
        return total

    for _ in range(10):
        cycle()
    processes, held, descriptors = below(os.getpid()), memory(), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        cycle()
    assert wait_until(lambda: below(os.getpid()) == processes)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert memory() - held < 1024  # KiB
    if parent.groups is not None:
        assert sum(1 for _ in parent.groups.bases[0].iterdir() if _.is_dir()) <= 3


SERVER = """
    import os, sys, time
    from openenv.sandbox import Limits, Packages, Sandbox
    from openenv.sandbox.warm import WarmParent
    parent = WarmParent(sys.argv[1], Packages(), groups=sys.argv[1] != "plain")
    boxes = [Sandbox(parent, None, Limits(wall_s=1000)) for _ in range(3)]
    for box in boxes:
        box.exec("import subprocess; subprocess.Popen(['sleep', '98765'], start_new_session=True)")
    folders = [str(path) for path in (parent.groups.bases if parent.groups else ())]
    print("READY", parent._folder or "", *folders, flush=True)
    boxes[0].exec("while True: pass")
"""


@pytest.mark.parametrize("mode", ["namespaces", "confined", "plain"])
def test_when_the_server_is_killed_every_sandbox_is_gone(mode: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SERVER), mode]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    words = server.stdout.readline().split()
    assert words[0] == "READY"
    family = below(server.pid)
    assert len(family) >= 3 * 2 + 3
    server.send_signal(signal.SIGKILL)
    server.wait()
    started = time.monotonic()
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") and not _zombie(pid) for pid in family))
    print(f"gone after {time.monotonic() - started:.2f} s")
    assert wait_until(lambda: not any(os.path.exists(folder) for folder in words[1:]))
    server.stdout.close()


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_when_the_warm_parent_dies_the_sandbox_is_dead_and_the_next_one_lives() -> None:
    with Sandbox.create(limits=LIMITS) as sandbox:
        sandbox._parent.process.kill()
        sandbox._parent.process.wait()
        wait_until(lambda: not sandbox.alive or sandbox.exec("1").status is Status.KILLED)
        assert not sandbox.session.alive
    with Sandbox.create(limits=LIMITS) as sandbox:
        assert sandbox.exec("1").ok


def test_the_thread_that_made_it_may_end() -> None:
    import threading

    made: list[Sandbox] = []

    def make() -> None:
        made.append(Sandbox(WarmParent("namespaces", Packages()), None, LIMITS, owns_parent=True))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert made[0].exec("1").ok
    made[0].kill()


def test_a_forked_server_makes_its_own() -> None:
    with Sandbox.create(limits=LIMITS) as sandbox:
        child = os.fork()
        if child == 0:
            try:
                with Sandbox.create(limits=LIMITS) as own:
                    os._exit(0 if own.exec("1").ok and own._parent is not sandbox._parent else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sandbox.exec("2").value == "2"


def test_many_at_once() -> None:
    boxes = [Sandbox.create(limits=LIMITS) for _ in range(40)]
    try:
        for number, box in enumerate(boxes):
            assert box.exec(f"x = {number}").ok
        assert [box.exec("x").value for box in boxes] == [str(number) for number in range(40)]
    finally:
        for box in boxes:
            box.kill()
