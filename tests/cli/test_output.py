import io
import json
import math

import pytest

from openenv.cli import _output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _neutral(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("variables", "stream", "expected"),
    [
        ({}, Terminal(), True),
        ({}, io.StringIO(), False),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"FORCE_COLOR": "1"}, io.StringIO(), True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"TERM": "dumb"}, Terminal(), False),
    ],
)
def test_colour_follows_stream_and_environment(
    variables: dict[str, str], stream: io.StringIO, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _output.coloured(stream) is expected
    assert ("\x1b" in _output.paint("x", "red", stream=stream)) is expected


def test_json_is_one_object_with_a_version_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    _output.say_json({"value": math.nan, "name": "é"})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema_version": 1, "value": None, "name": "é"}
    assert next(iter(json.loads(out))) == "schema_version"
    assert err == ""


def test_table_aligns_coloured_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = _output.table(["A", "N"], [[_output.paint("ab", "red"), "1"], ["c", "22"]], right=[1])
    plain = [
        line.replace("\x1b[31m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
        for line in text.split("\n")
    ]
    assert plain == ["A    N", "ab   1", "c   22"]


def test_table_without_rows_has_its_header() -> None:
    assert _output.table(["TARGET", "FROM"], []) == "TARGET  FROM"


def test_control_characters_become_visible() -> None:
    assert _output.printable("a\x1b[31mb\r\nc\td\x07") == "a\\x1b[31mb\nc\td\\x07"


def test_progress_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with _output.progress("run", 3) as bar:
        bar.advance("one")
    assert capsys.readouterr() == ("", "")


def test_progress_draws_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with _output.progress("run echo", 2) as bar:
        bar.advance("return 1")
        bar.advance("return 2")
    assert "run echo" in screen.getvalue()
    assert capsys.readouterr().out == ""
