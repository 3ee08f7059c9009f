"""An episode played in another process.

Run as ``python -m openenv.testing.elsewhere FILE``: reads a request from standard input and writes what
the episode showed to FILE, out of the way of whatever the environment prints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from openenv.testing.context import Context, Skipped
from openenv.testing.episodes import fingerprint, playing
from openenv.testing.player import Stage

_HASH_SEEDS = ("1", "2")
_START_S = 60.0
"""Seconds that another process may take on top of one call's, to start and to import."""


def play_elsewhere(context: Context, seed: int) -> list[Any]:
    """Play an episode in processes with different hash seeds.

    Returns:
        The fingerprint of each.

    Raises:
        Skipped: the environment cannot be found from another process.
    """
    request = {"target": _target(context), "seed": seed, "actions": context.actions(seed)}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / hash_seed for hash_seed in _HASH_SEEDS]
        processes = [_start(file) for file in files]
        try:
            for process in processes:
                _, errors = process.communicate(json.dumps(request).encode(), context.timeout_s + _START_S)
                if process.returncode != 0:
                    reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
                    raise Skipped(f"the environment does not run in another process: {reason}")
        except subprocess.TimeoutExpired:
            raise Skipped("another process took too long") from None
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        return [json.loads(file.read_text()) for file in files]


def _start(file: Path) -> subprocess.Popen[bytes]:
    surroundings = {
        **os.environ,
        "PYTHONHASHSEED": file.name,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.Popen(  # noqa: S603 (this interpreter, this module)
        [sys.executable, "-m", "openenv.testing.elsewhere", str(file)],
        env=surroundings,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _target(context: Context) -> str:
    if isinstance(context.target, (str, os.PathLike)):
        return os.fspath(context.target)
    cls = context.spec.cls
    if cls is None or context.spec.factory is not cls:
        raise Skipped("the environment is made by a function, which another process cannot be given")
    module, name = sys.modules.get(cls.__module__), cls.__qualname__
    if module is None or vars(module).get(name) is not cls:
        raise Skipped("the class is defined inside a function, where another process cannot find it")
    if module.__name__ != "__main__" and module.__spec__ is not None:
        return f"{module.__name__}:{name}"
    if module.__file__ is None:
        raise Skipped("the class is in no file that another process could load")
    return f"{module.__file__}:{name}"


def main(file: str) -> None:
    """Play the episode that standard input asks for and write its fingerprint to `file`."""
    from openenv.catalog.targets import resolve_spec

    request = json.load(sys.stdin)
    stage = Stage(resolve_spec(request["target"]))
    with stage.open() as player:
        episode = list(playing(player, request["seed"], request["actions"]))
    stage.close()
    Path(file).write_text(json.dumps(fingerprint(episode)))


if __name__ == "__main__":
    main(sys.argv[1])
