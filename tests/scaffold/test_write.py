"""What `init` writes, as files; that it works is tested in test_generated.py."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from openenv.scaffold import FilesExistError, check_name, write_one_file, write_package

PUBLISHED_LAYOUT = {
    ".dockerignore",
    ".gitignore",
    "README.md",
    "__init__.py",
    "client.py",
    "models.py",
    "openenv.yaml",
    "pyproject.toml",
    "server/Dockerfile",
    "server/__init__.py",
    "server/app.py",
    "server/maze_env_environment.py",
    "tests/test_maze_env.py",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write_package(check_name("maze_env"), tmp_path)
    return tmp_path / "maze_env"


def texts(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_one_file_is_two_files(tmp_path: Path) -> None:
    written = write_one_file(check_name("maze"), tmp_path / "new")
    assert [path.name for path in written] == ["maze.py", "test_maze.py"]
    assert "class Maze(Environment" in written[0].read_text()


def test_package_has_the_published_layout(package: Path) -> None:
    assert set(texts(package)) == PUBLISHED_LAYOUT


def test_nothing_is_left_unfilled_and_python_parses(package: Path) -> None:
    for name, text in texts(package).items():
        assert "{{" not in text, name
        assert "NAME" not in text.replace("__name__", ""), name
        assert text.endswith("\n"), name
        if name.endswith(".py"):
            ast.parse(text)


def test_lines_stay_short_for_long_names(tmp_path: Path) -> None:
    write_package(check_name("quite_a_long_name_env"), tmp_path)
    for name, text in texts(tmp_path).items():
        if name.endswith(".py"):
            assert max(map(len, text.splitlines())) <= 120, name


def test_one_import_style(package: Path) -> None:
    for name, text in texts(package).items():
        if name.endswith(".py"):
            assert "except ImportError" not in text, name
            assert not re.search(r"^\s*from \.", text, re.MULTILINE), name


def test_manifest_and_project_agree(package: Path) -> None:
    manifest = yaml.safe_load((package / "openenv.yaml").read_text())
    project = tomllib.loads((package / "pyproject.toml").read_text())
    assert manifest["name"] == "maze_env"
    assert manifest["app"] == "server.app:app"
    assert manifest["version"] == project["project"]["version"]
    assert project["project"]["name"] == "openenv-maze-env"
    assert project["tool"]["setuptools"]["package-dir"] == {"maze_env": ".", "maze_env.server": "server"}


def test_container_is_ordinary(package: Path) -> None:
    text = (package / "server/Dockerfile").read_text()
    assert "curl" not in text
    assert "--mount" not in text
    assert re.search(r"^USER openenv$", text, re.MULTILINE)
    assert text.index("USER openenv") < text.index('CMD ["uvicorn"')
    assert "maze_env.server.app:app" in text


def test_readme_names_are_the_packages_own(package: Path) -> None:
    files = texts(package)
    front = yaml.safe_load(files["README.md"].split("---")[1])
    assert front["sdk"] == "docker"
    assert front["base_path"] == "/web"
    assert "openenv" in front["tags"]
    for name in re.findall(r"\bMaze\w+", files["README.md"]):
        assert name in files["__init__.py"], name
    for path in re.findall(r"^\| `([\w/.]+)` \|", files["README.md"], re.MULTILINE):
        assert path.rstrip("/") in files or any(name.startswith(path) for name in files), path


def test_existing_files_are_never_touched_without_force(tmp_path: Path) -> None:
    (tmp_path / "test_maze.py").write_text("mine")
    with pytest.raises(FilesExistError) as caught:
        write_one_file(check_name("maze"), tmp_path)
    assert caught.value.paths == [tmp_path / "test_maze.py"]
    assert not (tmp_path / "maze.py").exists()
    assert (tmp_path / "test_maze.py").read_text() == "mine"
    write_one_file(check_name("maze"), tmp_path, force=True)
    assert (tmp_path / "test_maze.py").read_text() != "mine"
