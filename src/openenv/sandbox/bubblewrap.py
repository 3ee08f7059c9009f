"""The bubblewrap backend: `bwrap` makes namespaces and file tree, the guest adds Landlock, filter and limits.

One warm parent per sandbox, so making one takes as long as starting an interpreter. For machines on which
only `bwrap` may make namespaces.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from openenv.errors import SandboxError

from .guest import root
from .limits import Limits, Packages
from .warm import GUEST, PACKAGE, Outside, WarmParent, interpreter

_GUEST = "/opt/guest"


class BubblewrapParent(WarmParent):
    """A warm parent inside `bwrap`, for one sandbox.

    Args:
        packages: what code inside may import.
        limits: the disk quota is set when the file tree is made.

    Raises:
        SandboxError: `bwrap` is not installed, or could not start.
    """

    def __init__(self, packages: Packages, limits: Limits) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bwrap is not installed: sudo apt-get install bubblewrap")
        # Another user shall read the guest, wherever this package is installed.
        self._shared = tempfile.TemporaryDirectory(prefix="openenv-bwrap-")
        try:
            base = Path(self._shared.name)
            base.chmod(0o755)
            shutil.copytree(GUEST, base / "guest", ignore=shutil.ignore_patterns("__pycache__"))
            (base / "empty").mkdir()
            words = [program, *_arguments(base, packages, limits)]
            super().__init__(
                "inner", packages, outside=Outside(words, interpreter("confined"), _GUEST, _identity())
            )
        except BaseException:
            self._shared.cleanup()
            raise

    def close(self) -> None:
        """End it and the sandbox in it."""
        super().close()
        self._shared.cleanup()


def _identity() -> dict[str, Any] | None:
    """Root gives up its user: process limits do not bind it, even mapped to another number."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else None


def _arguments(base: Path, packages: Packages, limits: Limits) -> list[str]:
    python = Path(interpreter("confined"))
    bound = ["/usr"]
    if not python.is_relative_to("/usr"):
        bound.append(str(python.parents[1]))
    words = ["--unshare-all", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--proc", "/proc"]
    words += ["--dev", "/dev", "--dir", "/etc"]
    for path in bound:
        words += ["--ro-bind", path, path]
    for path in root.links():
        words += ["--symlink", os.readlink(path), path]
    for path in root.settings():
        words += ["--ro-bind-try", path, path]
    for path in [*root.covered_folders(bound), *([str(PACKAGE)] if _within(PACKAGE, bound) else [])]:
        words += ["--ro-bind", str(base / "empty"), path]
    if packages.venv is not None:
        words += ["--ro-bind", os.path.realpath(packages.venv), os.path.realpath(packages.venv)]
    words += ["--ro-bind", str(base / "guest"), _GUEST]
    for path in root.WRITABLE:
        words += ["--size", str(limits.disk_bytes), "--tmpfs", path]
    return [*words, "--chdir", "/work", "--"]


def _within(path: Path, folders: list[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
