"""A stateful session: what a notebook's user expects, on every backend."""

from __future__ import annotations

import textwrap

import pytest

from openenv.errors import SandboxGoneError
from openenv.sandbox import Sandbox, Status


def test_names_live_from_cell_to_cell_and_a_last_expression_is_the_value(sandbox: Sandbox) -> None:
    assert sandbox.exec("x = 20\ndef double(n): return 2 * n").value is None
    result = sandbox.exec("double(x) + 2")
    assert (result.status, result.value, result.value_type) == (Status.OK, "42", "int")
    assert sandbox.exec("_ + 1").value == "43"


def test_streams_are_kept_apart_and_in_order(sandbox: Sandbox) -> None:
    result = sandbox.exec(
        "import sys\nprint('one')\nprint('two', file=sys.stderr)\n"
        "print('three', end='')\nprint('four', file=sys.stderr)"
    )
    assert result.stdout == "one\nthree"
    assert result.stderr == "two\nfour\n"
    # A line that is not ended is still in Python's buffer when the next stream is written to.
    assert [stream for stream, _ in result.output][:2] == ["stdout", "stderr"]
    assert "".join(text for _, text in result.output) in ("one\ntwo\nthreefour\n", "one\ntwo\nfour\nthree")


def test_an_error_names_the_line_of_the_code_that_was_sent(sandbox: Sandbox) -> None:
    sandbox.exec("def fail():\n    raise ValueError('no good')")
    result = sandbox.exec("x = 1\n\nfail()")
    assert result.status is Status.ERROR
    assert result.error is not None
    assert (result.error.type, result.error.message, result.error.line) == ("ValueError", "no good", 3)
    assert 'File "<cell 1>", line 2, in fail' in result.stderr
    assert "    fail()" in result.stderr
    assert "_openenv_guest" not in result.stderr
    assert "cells.py" not in result.stderr


def test_a_syntax_error_names_its_line(sandbox: Sandbox) -> None:
    result = sandbox.exec("x = 1\ny = = 2")
    assert result.error is not None
    assert (result.error.type, result.error.line) == ("SyntaxError", 2)
    assert "y = = 2" in result.stderr


def test_exit_ends_the_cell_not_the_session(sandbox: Sandbox) -> None:
    result = sandbox.exec("x = 5\nimport sys\nsys.exit(3)")
    assert (result.status, result.exit_code, result.alive) == (Status.EXIT, 3, True)
    assert sandbox.exec("exit()").exit_code == 0
    assert sandbox.exec("x").value == "5"


def test_standard_input_reaches_python_and_its_programs(sandbox: Sandbox) -> None:
    assert sandbox.exec("input() + input()", stdin="ab\ncd\n").value == "'abcd'"
    code = "import subprocess\nsubprocess.run(['cat'], capture_output=True, text=True).stdout"
    assert sandbox.exec(code, stdin="through").value == "'through'"


def test_await_at_the_top_level_on_one_loop(sandbox: Sandbox) -> None:
    sandbox.exec("import asyncio\nqueue = asyncio.Queue()\nasync def put():\n    await queue.put(7)")
    assert sandbox.exec("await put()\nawait queue.get()").value == "7"
    code = "task = asyncio.create_task(asyncio.sleep(0, 'done'))\nawait asyncio.sleep(0)"
    sandbox.exec(
        f"async def outer():\n{textwrap.indent(code, '    ')}\n    return await task\nfound = await outer()"
    )
    assert sandbox.exec("found").value == "'done'"


def test_a_cell_whose_time_is_up_is_interrupted_and_its_output_kept(sandbox: Sandbox) -> None:
    sandbox.exec("kept = 'still here'")
    result = sandbox.exec("import time\nprint('begun')\nwhile True: time.sleep(0.01)", timeout_s=0.5)
    assert (result.status, result.alive, result.stdout) == (Status.TIMEOUT, True, "begun\n")
    assert sandbox.exec("kept").value == "'still here'"


def test_a_cell_that_does_not_give_way_is_killed_and_its_output_kept(sandbox: Sandbox) -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun')\nwhile True: pass"
    result = sandbox.exec(code, timeout_s=0.5)
    assert (result.status, result.alive, result.stdout) == (Status.TIMEOUT, False, "begun\n")
    assert result.trusted.exit_code == -9
    with pytest.raises(SandboxGoneError, match="reset"):
        sandbox.exec("1")
    sandbox.session.reset()
    assert sandbox.exec("1").value == "1"


def test_what_kills_the_session_is_reported_by_the_kernel(sandbox: Sandbox) -> None:
    result = sandbox.exec("print('last words')\nimport os\nos.kill(os.getpid(), 11)")
    assert (result.status, result.trusted.exit_code, result.alive) == (Status.KILLED, -11, False)
    assert result.stdout == "last words\n"
    sandbox.reset()
    result = sandbox.exec("import os\nos._exit(0)")
    assert (result.status, result.trusted.exit_code) == (Status.KILLED, 0)


def test_reset_empties_everything(sandbox: Sandbox) -> None:
    sandbox.exec(
        "import os, sys, subprocess\nx = 1\nsys.marker = 1\n"
        "os.makedirs('a/b/c')\nopen('a/b/c/f', 'w').write('x')\n"
        "os.chmod('a/b', 0)\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)"
    )
    sandbox.reset()
    assert sandbox.exec(
        "import os, sys\n('x' in globals(), hasattr(sys, 'marker'), os.listdir('.'))"
    ).value == ("(False, False, [])")
    assert sandbox.statistics().processes in (0, 1)


def test_output_beyond_the_limit_is_counted_and_dropped(backend: str) -> None:
    from openenv.sandbox import Limits

    with Sandbox.create(
        backend=backend, min_tier="0", limits=Limits(output_bytes=1000, wall_s=30)
    ) as sandbox:
        result = sandbox.exec("print('x' * 20000)")
        assert (len(result.stdout), result.dropped_bytes, result.status) == (1000, 19001, Status.OK)
        result = sandbox.exec("while True: print('x' * 10000)")
        assert (result.status, result.alive) == (Status.OUTPUT, False)


def test_late_output_of_a_thread_does_not_reach_the_next_cell(sandbox: Sandbox) -> None:
    sandbox.exec(
        "import threading, os, time\ngo = threading.Event()\n"
        "def late():\n    go.wait(); os.write(1, b'SPOOF')\nt = threading.Thread(target=late); t.start()"
    )
    sandbox.exec("threading.Timer(0.05, go.set).start()")
    sandbox.exec("t.join()")
    sandbox.exec("threading.Timer(0.05, lambda: os.write(1, b'SPOOF')).start()")
    sandbox.run(["sleep", "0.4"])
    result = sandbox.exec("print('true')")
    assert (result.stdout, result.late_bytes) == ("true\n", 5)


def test_a_cell_that_forks_answers_once(sandbox: Sandbox) -> None:
    result = sandbox.exec("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint(bool(pid))")
    assert sorted(result.stdout.split()) == ["False", "True"]
    assert result.status is Status.OK
    assert sandbox.exec("bool(pid)").value == "True"


def test_a_value_that_cannot_be_shown_is_an_error_of_the_cell(sandbox: Sandbox) -> None:
    result = sandbox.exec("class Bad:\n    def __repr__(self): raise KeyError('bad')\nBad()")
    assert result.error is not None
    assert result.error.type == "KeyError"
    result = sandbox.exec("class Worse(Exception):\n    def __str__(self): raise KeyError('x')\nraise Worse")
    assert result.error is not None
    assert result.error.type == "Worse"


def test_pictures_come_out(sandbox: Sandbox) -> None:
    code = "class Plot:\n    def _repr_png_(self): return b'\\x89PNG' + bytes(100000)\nPlot()"
    (image,) = sandbox.exec(code).images
    assert (image.kind, len(image.data), image.data[:4]) == ("image/png", 100004, b"\x89PNG")


def test_measured_time_and_memory_are_the_kernels(sandbox: Sandbox) -> None:
    result = sandbox.exec(
        "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    )
    assert result.trusted.cpu_s is not None
    assert 0.19 <= result.trusted.cpu_s <= result.trusted.wall_s + 0.05
    big = sandbox.exec("data = bytearray(b'x' * (64 << 20))")
    assert big.trusted.memory_bytes is not None
    assert big.trusted.memory_bytes > 64 << 20


def test_branches_share_the_past_and_nothing_after_it(sandbox: Sandbox) -> None:
    sandbox.exec("state = {'n': 1}\ndata = bytes(50 << 20)")
    first, second = sandbox.fork(2)
    first.exec("state['n'] += 10")
    second.exec("state['n'] += 100")
    sandbox.exec("state['n'] += 1000")
    values = [session.exec("state['n'], len(data)").value for session in (first, second, sandbox.session)]
    assert values == ["(11, 52428800)", "(101, 52428800)", "(1001, 52428800)"]
    result = first.exec("import os\nos._exit(1)")
    assert (result.status, result.alive) == (Status.KILLED, False)
    assert second.exec("state['n']").value == "101"
    (third,) = second.fork()
    assert third.exec("state['n']").value == "101"


def test_a_branch_after_await_has_a_loop_of_its_own(sandbox: Sandbox) -> None:
    sandbox.exec("import asyncio\nawait asyncio.sleep(0)")
    (branch,) = sandbox.fork()
    assert branch.exec("await asyncio.sleep(0, 1)").value == "1"
    assert sandbox.exec("await asyncio.sleep(0, 2)").value == "2"


def test_a_session_with_threads_cannot_be_forked(sandbox: Sandbox) -> None:
    from openenv.errors import BranchRefusedError

    sandbox.exec("import threading\ngo = threading.Event()\nthreading.Thread(target=go.wait).start()")
    with pytest.raises(BranchRefusedError, match="threads"):
        sandbox.fork()
    sandbox.exec("go.set()")
    assert sandbox.exec("1").ok
