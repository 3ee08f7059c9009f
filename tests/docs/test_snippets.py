"""The extractor reads what pages mean, and the runner notices what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from .exchanges import alike, turns
from .page import Page, PageFailure
from .snippets import matches, snippets


def page(tmp_path: Path, text: str) -> Page:
    path = tmp_path / "page.md"
    path.write_text(text)
    return Page(path, tmp_path)


def test_a_fence_has_kind_attributes_text_and_line() -> None:
    (found,) = snippets('# Title\n\n```python title="a.py" x=1\nvalue = 1\n```\n')
    assert (found.kind, found.attributes) == ("python", {"title": "a.py", "x": "1"})
    assert (found.text, found.line) == ("value = 1\n", 4)


def test_an_indented_fence_loses_its_indentation() -> None:
    (found,) = snippets("1. Do\n\n   ```python\n   if 1:\n       pass\n   ```\n")
    assert found.text == "if 1:\n    pass\n"


def test_a_directive_holds_for_the_next_fence_only() -> None:
    text = "<!-- snippet: skip: not here -->\n```python\n1\n```\n\n```python\n2\n```\n"
    assert [found.skip for found in snippets(text)] == ["not here", None]


@pytest.mark.parametrize("text", ["```python\n1\n", "<!-- snippet: wait -->\n```python\n1\n```\n"])
def test_mistakes_in_a_page_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"never closed|unknown directive"):
        snippets(text)


def test_dots_stand_for_anything() -> None:
    assert matches("a ... c\n", "a b \n b c")
    assert not matches("a ... c\n", "a b d")
    assert matches("1.5 (x)", "1.5 (x)\n")


def test_blocks_share_a_namespace_and_outputs_are_compared(tmp_path: Path) -> None:
    text = "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```output\n2\n```\n"
    with page(tmp_path, text) as running:
        running.run()
    assert running.executed == 3


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n\n```output\n2\n```\n",
        "```python\nraise KeyError(1)\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ exec false &\n```\n",
    ],
    ids=["output", "exception", "status", "transcript", "background"],
)
def test_a_page_that_is_wrong_fails(tmp_path: Path, text: str) -> None:
    with pytest.raises(PageFailure, match=r"page\.md:\d+"), page(tmp_path, text) as running:
        running.run()


def test_files_commands_and_expected_failures(tmp_path: Path) -> None:
    text = (
        '```python title="pkg/m.py"\nprint("hello")\n```\n\n```console\n$ python pkg/m.py\nhello\n```\n\n'
        "<!-- snippet: exit 3 -->\n```console\n$ true\n$ exit 3\n```\n"
    )
    with page(tmp_path, text) as running:
        running.run()
    assert running.executed == 3


def test_ports_are_free_ones_and_shown_as_written(tmp_path: Path) -> None:
    text = (
        '```python title="server.py"\nimport sys\nimport http.server as h\n'
        'h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port=int(sys.argv[2]), bind="127.0.0.1")\n'
        "```\n\n"
        "```console\n$ python server.py --port 8001 &\n"
        "$ curl -s http://127.0.0.1:8001/server.py\nimport ...\n"
        "$ echo http://127.0.0.1:8001\nhttp://127.0.0.1:8001\n```\n"
    )
    with page(tmp_path, text) as running:
        running.run()
        assert running.ports["8001"] != "8001"


def test_what_dots_mean_in_json() -> None:
    assert alike({"a": "...", "...": "..."}, {"a": 1, "b": 2})
    assert not alike({"a": "..."}, {"a": 1, "b": 2})
    assert not alike({"a": [1, "..."]}, {"a": [1]})
    assert not alike({"done": True}, {"done": 1})


def test_a_frame_may_be_broken_over_lines() -> None:
    assert turns('> {"a":\n   1}\n< {}\n') == [(">", '{"a": 1}'), ("<", "{}")]


def test_exchanges_are_compared(tmp_path: Path) -> None:
    server = (
        '```python title="server.py"\nimport http.server as h\n'
        'h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port=8000, bind="127.0.0.1")\n```\n\n'
    ).replace("port=8000", "port=int(__import__('sys').argv[2])")
    start = "```console\n$ python server.py --port 8000 &\n```\n\n"
    with page(tmp_path, server + start + "```http\n> GET /nothing\n< 404\n< Server: ...\n```\n") as running:
        running.run()
    wrong = "```http\n> GET /server.py\n< 404\n```\n"
    with pytest.raises(PageFailure, match="answered 200"), page(tmp_path, server + start + wrong) as running:
        running.run()
