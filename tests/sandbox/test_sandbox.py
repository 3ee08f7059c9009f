"""Commands, files, limits, life and death, on every backend."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from openenv.errors import IsolationError, SandboxFileError, SandboxGoneError, SandboxOptionError
from openenv.sandbox import Limits, NetworkPolicy, Sandbox, Snapshot, Status, Tier


def test_a_command_is_reported_by_the_kernel(sandbox: Sandbox) -> None:
    result = sandbox.run(["sh", "-c", "cat; echo err >&2; exit 7"], stdin=b"fed\n")
    assert (result.stdout, result.stderr, result.exit_code) == (b"fed\n", b"err\n", 7)
    assert result.status is Status.ERROR
    assert result.trusted.cpu_s is not None
    result = sandbox.run(["sh", "-c", "kill -9 $$"])
    assert (result.status, result.exit_code) == (Status.KILLED, -9)
    assert sandbox.run(["/bin/true"]).ok


def test_a_command_that_is_not_there(sandbox: Sandbox) -> None:
    result = sandbox.run(["no-such-program"])
    assert result.exit_code == 127
    assert b"no-such-program" in result.stderr


def test_large_input_and_output_pass_whole(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * 2000
    assert sandbox.run(["cat"], stdin=data).stdout == data
    assert sandbox.run(["true"], stdin=data).ok


def test_a_command_starts_where_and_with_what_it_is_told(sandbox: Sandbox) -> None:
    sandbox.write("sub/here", "x")
    assert sandbox.run(["ls"], cwd="sub").stdout == b"here\n"
    assert sandbox.run(["sh", "-c", "echo $WORD"], environment={"WORD": "given"}).stdout == b"given\n"


def test_a_command_whose_time_is_up_is_killed_with_what_it_started(sandbox: Sandbox) -> None:
    sandbox.exec("x = 1")
    before = sandbox.statistics().processes
    result = sandbox.run(
        ["sh", "-c", "echo begun; setsid sleep 1000 & setsid sleep 1000 & sleep 1000"], timeout_s=0.5
    )
    assert (result.status, result.stdout, result.exit_code) == (Status.TIMEOUT, b"begun\n", -9)
    deadline = time.monotonic() + 20
    while sandbox.statistics().processes > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sandbox.statistics().processes == before
    assert sandbox.exec("x").value == "1"


def test_a_flood_of_a_command_is_stopped(backend: str) -> None:
    with Sandbox.create(backend=backend, min_tier="0", limits=Limits(output_bytes=1000)) as sandbox:
        result = sandbox.run(["sh", "-c", "yes"], timeout_s=30)
        assert (result.status, len(result.stdout)) == (Status.OUTPUT, 1000)
        assert result.dropped_bytes > 64000


def test_files_go_in_and_out(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.write("a/b.txt", "text")
    sandbox.write("run.sh", b"#!/bin/sh\necho ran\n", mode=0o755)
    assert sandbox.run(["./run.sh"]).stdout == b"ran\n"
    assert sandbox.exec("open('a/b.txt').read()").value == "'text'"
    sandbox.exec("open('made.bin', 'wb').write(bytes(300000))")
    assert sandbox.read("made.bin") == bytes(300000)
    assert [(entry.name, entry.kind) for entry in sandbox.list(recursive=True)] == [
        ("a", "folder"), ("a/b.txt", "file"), ("made.bin", "file"), ("run.sh", "file"),
    ]  # fmt: skip
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "one").write_text("1")
    (source / "link").symlink_to("/etc/passwd")
    sandbox.put(source, "put")
    sandbox.get("put", tmp_path / "got")
    assert (tmp_path / "got/deep/one").read_text() == "1"
    assert not (tmp_path / "got/link").exists()


def test_a_snapshot_brings_the_files_back(sandbox: Sandbox) -> None:
    sandbox.write("x/y", "1", mode=0o700)
    taken = sandbox.snapshot()
    assert taken == Snapshot({"x/y": (b"1", 0o700)})
    sandbox.reset()
    assert sandbox.list() == []
    sandbox.restore(taken)
    assert sandbox.read("x/y") == b"1"


@pytest.mark.parametrize(
    ("prepare", "path", "reason"),
    [
        ("pass", "missing", "FileNotFoundError"),
        ("import os; os.mkfifo('pipe')", "pipe", "FileRefused"),
        ("import os; os.mkdir('d')", "d", "FileRefused"),
        ("open('big', 'w').write('x' * 2000)", "big", "FileRefused"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(sandbox: Sandbox, prepare: str, path: str, reason: str) -> None:
    assert sandbox.exec(prepare).alive
    with pytest.raises(SandboxFileError) as caught:
        sandbox.read(path, max_bytes=1000)
    assert (caught.value.path, caught.value.reason) == (path, reason)
    assert sandbox.exec("1").ok


def test_a_link_that_was_planted_leads_nowhere(confining: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    secret.chmod(0o644)
    with Sandbox.create(backend=confining, min_tier="C") as sandbox:
        sandbox.exec(f"import os; os.symlink({str(secret)!r}, 'link'); os.symlink('/etc/shadow', 'shadow')")
        for name in ("link", "shadow"):
            with pytest.raises(SandboxFileError):
                sandbox.read(name)
        with pytest.raises(SandboxFileError):
            sandbox.write("link", "overwritten")
    assert secret.read_text() == "SECRET"


def test_memory_of_one_process_ends_in_a_memory_error(confining: str) -> None:
    limits = Limits(memory_bytes=128 << 20, wall_s=30)
    with Sandbox.create(backend=confining, min_tier="C", limits=limits) as sandbox:
        result = sandbox.exec("data = bytearray(300 << 20)")
        assert (result.error and result.error.type, result.alive) == ("MemoryError", True)


_SPREAD = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        data = bytearray(b"x" * (40 << 20))
        time.sleep(60)
        os._exit(0)
time.sleep(60)
"""


def test_memory_spread_over_processes_is_summed(confining: str) -> None:
    limits = Limits(memory_bytes=128 << 20, wall_s=30)
    with Sandbox.create(backend=confining, min_tier="C", limits=limits) as sandbox:
        sandbox.session.exec("pass")
        result = sandbox.exec(_SPREAD + "\n", timeout_s=20)
        # A control group's killer may take a child first; then the parent sleeps to its deadline.
        used = sandbox.statistics() if result.alive else None
        assert result.status in (Status.MEMORY, Status.TIMEOUT)
        assert used is None or used.memory_bytes < 160 << 20


def test_the_watcher_alone_bounds_the_sum() -> None:
    from openenv.sandbox.limits import Packages
    from openenv.sandbox.warm import WarmParent

    parent = WarmParent("namespaces", Packages(), groups=False)
    try:
        limits = Limits(memory_bytes=128 << 20, wall_s=30)
        sandbox = Sandbox(parent, None, limits)
        result = sandbox.exec(_SPREAD)
        assert (result.status, result.alive) == (Status.MEMORY, False)
        sandbox.reset()
        result = sandbox.run(["python3", "-c", _SPREAD])
        assert result.status is Status.MEMORY
        shared = (
            "import mmap, os, time\nfor _ in range(6):\n if os.fork() == 0:\n  m = mmap.mmap(-1, 40 << 20)\n"
        )
        shared += "  m.write(b'x' * (40 << 20)); time.sleep(60)\ntime.sleep(60)"
        sandbox.reset()
        assert sandbox.exec(shared).status is Status.MEMORY
        sandbox.kill()
        unwatched = Sandbox(parent, None, limits, without=["memory watch"])
        assert unwatched.exec(_SPREAD, timeout_s=1.5).status is Status.TIMEOUT
        unwatched.kill()
    finally:
        parent.close()


def test_disk_is_one_quota(strong: Sandbox) -> None:
    result = strong.exec(
        "for place in ('/work/a', '/tmp/b', '/dev/shm/c'):\n    open(place, 'wb').write(bytes(6 << 20))"
    )
    assert result.error is not None
    assert "No space left" in result.error.message
    assert strong.statistics().disk_bytes >= 12 << 20
    strong.reset()
    assert strong.statistics().disk_bytes < 1 << 20


def test_folders_nested_deeper_than_a_path_can_name_are_removed(sandbox: Sandbox) -> None:
    code = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nopen('f', 'w').close()"
    assert sandbox.exec(code, timeout_s=60).ok
    sandbox.reset()
    assert sandbox.list() == []
    assert sandbox.exec(code, timeout_s=60).ok
    folder = Path(sandbox.work)
    sandbox.kill()
    # Elsewhere the folder's name has a meaning inside only.
    assert sandbox.report.backend not in ("confined", "subprocess") or not folder.exists()


def test_loopback_connects_its_own_processes_and_nobody_else() -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    print(error.errno)
"""
    with Sandbox.create(network=NetworkPolicy.loopback()) as sandbox:
        result = sandbox.exec(code)
        assert (result.stdout, result.status) == ("101\n", Status.OK)
    with Sandbox.create() as sandbox:
        result = sandbox.exec(code)
        assert result.error is not None
        assert "not supported" in result.error.message


def test_kill_interrupts_from_another_thread(sandbox: Sandbox) -> None:
    threading.Timer(0.3, sandbox.kill).start()
    result = sandbox.exec("while True: pass")
    assert (result.status, result.alive) == (Status.KILLED, False)
    sandbox.kill()
    for operation in (
        lambda: sandbox.run(["true"]),
        sandbox.reset,
        lambda: sandbox.read("x"),
        sandbox.statistics,
    ):
        with pytest.raises(SandboxGoneError):
            operation()


def test_nothing_of_the_server_is_inherited(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENENV_SECRET", "x")
    names = sandbox.run(["sh", "-c", "env"], environment={"GIVEN": "1"}).stdout.decode()
    assert "SECRET" not in names
    assert "GIVEN=1" in names
    assert "PATH=" in names
    opened = sandbox.run(["python3", "-c", "import os; print(len(os.listdir('/dev/fd')))"])
    if opened.ok:
        assert int(opened.stdout) <= 4


def test_options_that_make_no_sense_are_named() -> None:
    with pytest.raises(SandboxOptionError, match=r"limits\.processes") as caught:
        Limits(processes=0)
    assert caught.value.option == "processes"
    with pytest.raises(SandboxOptionError, match="memory_bytes"):
        Limits(memory_bytes="much")  # type: ignore[arg-type]
    with pytest.raises(SandboxOptionError, match="network"):
        NetworkPolicy("everything")
    with pytest.raises(SandboxOptionError, match="backend"):
        Sandbox.create(backend="magic")
    with pytest.raises(SandboxOptionError, match="tier"):
        Sandbox.create(min_tier="Z")


def test_less_isolation_than_asked_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(IsolationError, match="mount namespace is missing") as caught:
        Sandbox.create(backend="confined")
    assert (caught.value.wanted, caught.value.available) == ("A", "C")
    assert any("pid namespace" in reason for reason in caught.value.reasons)
    with Sandbox.create(backend="confined", degrade_to="C") as sandbox:
        assert sandbox.tier is Tier.C
    with pytest.raises(IsolationError):
        Sandbox.create(min_tier="V")


def test_a_program_that_a_backend_needs_and_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(IsolationError, match="bwrap is not installed: sudo apt-get install bubblewrap"):
        Sandbox.create(backend="bubblewrap")


def test_the_strength_of_each_backend_is_what_it_is(sandbox: Sandbox, backend: str) -> None:
    expected = {"namespaces": Tier.A, "bubblewrap": Tier.A, "confined": Tier.C, "subprocess": Tier.NONE}
    assert sandbox.tier is expected[backend]
    assert sandbox.report.to_dict()["tier"] == expected[backend].value
