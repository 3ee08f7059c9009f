"""Every snippet of the README and of docs/ does what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from .page import Page
from .snippets import ROOT, pages, snippets


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_page(path: Path, tmp_path: Path) -> None:
    with Page(path, tmp_path) as page:
        page.run()


def test_the_readme_is_executed() -> None:
    kinds = [snippet.kind for snippet in snippets((ROOT / "README.md").read_text()) if snippet.skip is None]
    assert {"python", "console"} <= set(kinds)


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_skipped_snippet_says_why(path: Path) -> None:
    for snippet in snippets(path.read_text()):
        assert snippet.skip is None or len(snippet.skip) > 15, f"{path.name}:{snippet.line}"
