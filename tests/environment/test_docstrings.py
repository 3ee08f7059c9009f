"""Docstrings: Google, NumPy, Sphinx and one-line sections."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openenv.environment.docstrings import parse_docstring

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: examples may take long."""


def documented(text: str | None):
    def function(a, b):
        return a, b

    function.__doc__ = text
    return function


CASES = {
    "google": (
        "Do it.\n\nMore text.\n\nArgs:\n    a: first line\n        second line\n    b (int): with: colon.\n\n"
        "Returns:\n    A thing.\n",
        "Do it.\n\nMore text.",
        {"a": "first line\nsecond line", "b": "with: colon."},
    ),
    "google, indented as in a class": (
        "Do it.\n\n    Args:\n        a: first\n        b: second\n    ",
        "Do it.",
        {"a": "first", "b": "second"},
    ),
    "google, described below": ("Do.\n\nArgs:\n    a:\n        below\n", "Do.", {"a": "below"}),
    "google, others ignored": ("Do.\n\nArgs:\n    a: x\n    *args: no\n    c: unknown\n", "Do.", {"a": "x"}),
    "google, section heads": ("Do.\n\nNote:\n    n\n\nArguments:\n  a: x\n", "Do.", {"a": "x"}),
    "numpy": (
        "Do it.\n\nParameters\n----------\na : int\n    first\nb\n    second\n    line\n\n"
        "Returns\n-------\nint\n",
        "Do it.",
        {"a": "first", "b": "second\nline"},
    ),
    "sphinx": (
        "Do it.\n\n:param a: first\n:param int b: second\n    continued\n:returns: x\n",
        "Do it.",
        {"a": "first", "b": "second\ncontinued"},
    ),
    "one line": ("Guess. Args: a: in line. b: too.", "Guess.", {"a": "in line.", "b": "too."}),
    "no parameters": ("Only text.\n\nReturns:\n    x", "Only text.\n\nReturns:\n    x", {}),
    "nothing": (None, "", {}),
}


@pytest.mark.parametrize(("text", "description", "parameters"), CASES.values(), ids=CASES)
def test_styles(text, description, parameters):
    parsed = parse_docstring(documented(text), ["a", "b"])
    assert (parsed.description, parsed.parameters) == (description, parameters)


def test_summary_is_the_first_paragraph_on_one_line():
    assert parse_docstring(documented("One\ntwo.\n\nThree.")).summary == "One two."
    assert parse_docstring(documented(None)).summary == ""


def test_own_docstring_only():
    class Base:
        """Base."""

    class Derived(Base):
        pass

    assert parse_docstring(Derived).description == ""


@PATIENT
@given(st.text())
def test_any_text_is_parsed(text):
    parsed = parse_docstring(documented(text), ["a", "b"])
    assert set(parsed.parameters) <= {"a", "b"}
    assert all(parsed.parameters.values())
