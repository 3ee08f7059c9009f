import pytest

from openenv.errors import UsageError
from openenv.scaffold import InvalidNameError, check_name


def test_spellings() -> None:
    name = check_name("grid_world_env")
    assert (name.class_name, name.prefix) == ("GridWorldEnv", "GridWorld")
    assert (name.title, name.dashed) == ("Grid world", "grid-world-env")


@pytest.mark.parametrize(
    ("name", "suggestion", "why"),
    [
        ("My-Env", "my_env", "lower-case"),
        ("MyGame", "my_game", "lower-case"),
        ("my env2", "my_env2", "lower-case"),
        ("3d_maze", "env_3d_maze", "start with a letter"),
        ("game.py", "game", "lower-case"),
        ("", "my_env", "lower-case"),
        ("a__b", "a_b", "underscores"),
        ("game_", "game", "underscores"),
        ("class", "class_env", "Python language"),
        ("match", "match_env", "Python language"),
        ("test_game", "game", "pytest"),
        ("server", "server_env", "part of every environment"),
        ("openenv", "openenv_env", "part of every environment"),
        ("json", "json_env", "hide the installed module"),
        ("pydantic", "pydantic_env", "hide the installed module"),
        ("x" * 61, "x" * 56, "longer than 60"),
        ("echo", "echo_env", "ships with openenv"),
        ("../evil", "evil", "lower-case"),
    ],
)
def test_refused_names_get_a_reason_and_a_better_name(name: str, suggestion: str, why: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_name(name)
    assert why in str(caught.value)
    assert caught.value.suggestion == suggestion
    assert check_name(suggestion).module == suggestion
    assert isinstance(caught.value, UsageError)
