"""Strings drawn from regular expressions match them."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openenv.spaces.patterns import PatternText

PATTERNS = [
    r"",
    r"^$",
    r"^[a-z]+$",
    r"^[^a-zA-Z0-9 ]{3}$",
    r"a{3,5}b|c+",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"^(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[A-Za-z\d]{8,}$",
    r"^(\w+)-\1$",
    r"^(?P<quote>['\"])\w*(?P=quote)$",
    r"\bfoo\b",
    r"^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$",
    r"(?i)^(yes|no)$",
    r"^[\u4e00-\u9fff]{2}$",
    r"^[\n]$",
    r"^\S+@\S+\.\D{2,}$",
    r"^\W\w\s.$",
    r"^(a)?(?(1)b|c)$",
    r"^(a)?x(?(1)b)$",
    r"^(?>ab|a)c$",
    r"^a++b$",
    r"^.*?z$",
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
    r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$",
    r"^(?:a(?:b(?:c|d)*)+){2}$",
    r"^()*a(|b)$",
    r"^[-\]\\^]$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_draws_match(pattern):
    text, rng = PatternText(pattern), random.Random(0)
    drawn = [text.draw(rng) for _ in range(50)]
    assert all(re.search(pattern, one) for one in drawn)


@pytest.mark.parametrize(
    "pattern", [r"^[a-z]+$", r"^([a-z]+-)*[a-z]+$", r"^(ab|cde)*$", r"[xyz]", r"^\w*?\d{4}$"]
)
@pytest.mark.parametrize(("least", "most"), [(0, 8), (40, 50), (60, 60), (1000, None)])
def test_draws_have_the_asked_length(pattern, least, most):
    text, rng = PatternText(pattern), random.Random(0)
    for _ in range(20):
        one = text.draw(rng, least, most)
        assert re.search(pattern, one)
        assert least <= len(one) <= (most or 10**6)


@pytest.mark.parametrize("pattern", [r"(?<year>\d{4})\z", r"^\\z$"])
def test_spellings_of_other_dialects_are_understood(pattern):
    assert PatternText(pattern).draw(random.Random(0))


@pytest.mark.parametrize("pattern", [r"(", r"\p{L}", r"(?<=a+)b", "a{1,99999999999999999999}"])
def test_what_python_cannot_read_is_an_error(pattern):
    with pytest.raises(ValueError, match="Python cannot read"):
        PatternText(pattern)


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [(r"^a{5}$", 0, 4), (r"^a{5}$", 6, None), (r"a(?!a)(?=a)", 0, None), (r"^(aa)*$", 3, 3)],
)
def test_what_cannot_be_met_is_an_error(pattern, least, most):
    with pytest.raises(ValueError, match="no string was found"):
        PatternText(pattern).draw(random.Random(0), least, most)


ATOMS = st.sampled_from(["a", "b", "[a-c]", r"\d", ".", "[^x]", "(?:ab|c)", "(de)"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: f"(?:{a}|{b})", inner, inner),
        st.builds(
            lambda a, mark: f"(?:{a}){mark}",
            inner,
            st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "{2,}"]),
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, st.integers(0, 2**32))
def test_any_plain_expression_is_met_anchored(expression, seed):
    drawn = PatternText(f"^(?:{expression})$").draw(random.Random(seed))
    assert re.fullmatch(expression, drawn)
