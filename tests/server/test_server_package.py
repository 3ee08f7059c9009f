from __future__ import annotations

import subprocess
import sys

import pytest

import openenv.server


def test_every_name_is_there() -> None:
    for name in openenv.server.__all__:
        assert getattr(openenv.server, name) is not None
        assert name in dir(openenv.server)
    assert sorted(openenv.server.__all__) == openenv.server.__all__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = openenv.server.nonsense


def test_the_settings_load_no_web_framework() -> None:
    code = "import sys; from openenv.server import ServerSettings; print('fastapi' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
