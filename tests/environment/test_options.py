"""Class keywords: checked, inherited, corrected."""

from __future__ import annotations

import pytest

from openenv.environment import Environment
from openenv.environment.options import class_options
from openenv.errors import DefinitionError


class Base(Environment, name="base", version="2.0", max_steps=10, step_timeout_s=1.5, host="thread"):
    pass


def test_defaults():
    options = class_options(Environment)
    assert (options.name, options.max_steps, options.host) == (None, None, "auto")
    assert options.deterministic
    assert options.requires_reset is None


def test_inherited_but_for_name_and_version():
    class Child(Base, deterministic=False):
        pass

    options = class_options(Child)
    assert (options.max_steps, options.step_timeout_s, options.host) == (10, 1.5, "thread")
    assert (options.name, options.version, options.deterministic) == (None, None, False)
    assert class_options(Base).name == "base"


def test_none_lifts_an_inherited_limit():
    class Child(Base, max_steps=None):
        pass

    assert class_options(Child).max_steps is None


def test_from_several_bases():
    class Other(Environment, requires_reset=False):
        pass

    class Both(Base, Other):
        pass

    assert class_options(Both).max_steps == 10
    assert class_options(Both).requires_reset is False


@pytest.mark.parametrize(
    "keywords",
    [
        {"max_steps": 0},
        {"max_steps": 1.5},
        {"max_steps": True},
        {"step_timeout_s": -1},
        {"reset_timeout_s": "1"},
        {"episode_timeout_s": 0},
        {"host": "moon"},
        {"deterministic": 1},
        {"requires_reset": None},
        {"name": ""},
        {"version": 2},
        {"transforms": 5},
        {"transforms": [1]},
        {"rubric": 1},
    ],
)
def test_nonsense_is_refused_with_place_and_remedy(keywords):
    name = next(iter(keywords))
    with pytest.raises(DefinitionError, match=rf"test_options.py:\d+: Bad: {name}=.* makes no sense\. \w+"):

        class Bad(Environment, **keywords):
            pass


def test_unknown_keyword_names_the_nearest():
    with pytest.raises(DefinitionError, match=r"unknown class keyword 'max_step'\. Did you mean max_steps"):

        class Bad(Environment, max_step=3):
            pass

    with pytest.raises(DefinitionError, match="Known: name, version"):

        class Worse(Environment, qqq=3):
            pass


def test_keywords_of_other_bases_pass():
    class Mixin:
        def __init_subclass__(cls, colour: str = "", **kwargs: object) -> None:
            super().__init_subclass__(**kwargs)
            cls.colour = colour

    class Painted(Environment, Mixin, colour="red", max_steps=2):
        pass

    assert Painted.colour == "red"
    assert class_options(Painted).max_steps == 2


def test_an_error_of_another_base_is_its_own():
    class Mixin:
        def __init_subclass__(cls) -> None:
            raise TypeError("not today")

    with pytest.raises(TypeError, match="not today"):

        class Bad(Environment, Mixin):
            pass
