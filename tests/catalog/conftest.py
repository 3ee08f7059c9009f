import importlib
import sys
from textwrap import dedent

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write files below the current directory, which is a fresh one: `folder({"a.py": "..."})`."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)

    def write(files):
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        importlib.invalidate_caches()
        return tmp_path

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
