from typing import Any

import pytest

from openenv.cli._play.diff import Change, changes, render


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Change("a", "changed", 1, 2)]),
        ({"a": 1}, {}, [Change("a", "removed", before=1)]),
        ({}, {"a": None}, [Change("a", "added", after=None)]),
        ({"a": 1}, {"a": True}, [Change("a", "changed", 1, True)]),
        (
            {"a": {"b": [1, 2]}},
            {"a": {"b": [1, 3, 4]}},
            [
                Change("a.b[1]", "changed", 2, 3),
                Change("a.b[2]", "added", after=4),
            ],
        ),
        ([1, 2], [1], [Change("[1]", "removed", before=2)]),
        ({"a": {}}, {"a": []}, [Change("a", "changed", {}, [])]),
        ("x", "y", [Change("", "changed", "x", "y")]),
    ],
)
def test_changes(before: Any, after: Any, expected: list[Change]) -> None:
    assert list(changes(before, after)) == expected


def test_colours_say_what_went_and_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    (line,) = render(list(changes({"low": 1}, {"low": 51})))
    assert line == "~ low \x1b[31m1\x1b[0m -> \x1b[32m51\x1b[0m"


def test_long_values_and_long_lists_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    found = list(changes({}, {f"k{n}": "x" * 500 for n in range(30)}))
    lines = render(found, limit=20, width=90)
    assert len(lines) == 21
    assert max(map(len, lines)) < 60
    assert lines[-1] == "and 10 more"
