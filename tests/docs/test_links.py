"""Links between pages lead somewhere, anchors included, and the index leads to every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .snippets import ROOT, pages

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)

DOCUMENTS = [*pages(), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = _FENCED.sub("", path.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def links(path: Path) -> list[str]:
    """Where the page's links lead, as written."""
    return [first or second for first, second in _LINK.findall(_FENCED.sub("", path.read_text()))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        if link.startswith(("https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{path.name}: {link}"


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {
        (index.parent / link.partition("#")[0]).resolve() for link in links(index) if "://" not in link
    }
    missing = {path for path in (ROOT / "docs").rglob("*.md") if path != index} - reached
    assert not missing
