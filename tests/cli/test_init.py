from pathlib import Path

from .conftest import Invoke


def test_one_file_and_what_to_do_next(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("init", "maze")
    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maze.py", "test_maze.py"]
    for line in ("wrote maze.py", "openenv play maze.py", "openenv serve maze.py", "pytest test_maze.py"):
        assert line in result.stdout


def test_a_package_elsewhere(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("init", "maze_env", "--package", "-o", "envs")
    assert result.exit_code == 0
    assert (tmp_path / "envs/maze_env/openenv.yaml").is_file()
    assert "openenv serve envs/maze_env" in result.stdout


def test_a_package_here_is_named_as_a_folder(invoke: Invoke) -> None:
    assert "openenv serve ./maze_env" in invoke("init", "maze_env", "--package").stdout


def test_a_bad_name_is_refused_with_a_better_one(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("init", "My-Maze")
    assert result.exit_code == 2
    assert "try: openenv init my_maze" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "maze.py").write_text("mine")
    result = invoke("init", "maze")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (tmp_path / "maze.py").read_text() == "mine"
    assert invoke("init", "maze", "--force").exit_code == 0


def test_a_name_that_is_taken_by_an_environment_made_here_before(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "maze").mkdir()
    assert invoke("init", "maze", "-o", "maze").exit_code == 0
