"""Why code that somebody else wrote did not load, in one sentence."""

from __future__ import annotations

import traceback
from pathlib import Path


def explain(problem: BaseException, place: Path) -> str:
    """Say what failed, where in the author's code, and what may help.

    Args:
        problem: what importing raised.
        place: the file or folder that was being loaded.
    """
    folder = place if place.is_dir() else place.parent
    text = f"{place} does not load: {type(problem).__name__}: {problem}"
    if isinstance(problem, SyntaxError):
        return text
    own = [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    if own:
        text += f" ({Path(own[-1].filename).relative_to(folder)}, line {own[-1].lineno})"
    if isinstance(problem, ModuleNotFoundError) and (folder / "pyproject.toml").is_file():
        text += f". Install what it needs: pip install -e {folder}"
    return text
