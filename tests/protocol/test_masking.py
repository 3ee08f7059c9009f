"""The C mask is found without importing the package around it, and is not needed."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import PathFinder

import pytest

from openenv.protocol import masking


def test_the_c_function_is_used_where_installed() -> None:
    assert masking.apply_mask is not masking.xor_mask
    assert masking.apply_mask(b"abcdef", b"\0\0\0\1") == b"abceef"


def test_importing_the_mask_does_not_import_websockets() -> None:
    code = "import sys, openenv.protocol.websocket; print('websockets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("missing", ["websockets", "websockets.speedups"])
def test_without_the_extension_python_masks(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = PathFinder.find_spec

    def find_spec(name: str, path: object = None) -> object:
        return None if name == missing else real(name, path)  # type: ignore[arg-type]

    monkeypatch.setattr(PathFinder, "find_spec", find_spec)
    assert masking.find_mask() is masking.xor_mask
