"""Writing the templates: all files or none."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from openenv.errors import UsageError
from openenv.scaffold.names import EnvironmentName

_SUFFIX = ".tmpl"
_FIELD = re.compile(r"\{\{ (\w+) \}\}")


class FilesExistError(UsageError, FileExistsError):
    """Files that would be overwritten.

    Attributes:
        paths: those files.
    """

    def __init__(self, paths: list[Path]) -> None:
        names = ", ".join(str(path) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
        super().__init__(f"Already there, and left as it is: {names}")
        self.paths = paths

    @property
    def next_commands(self) -> list[str]:
        """What to type instead."""
        return ["the same command with --force (overwrites), another name, or --output-dir FOLDER"]


def write_one_file(name: EnvironmentName, folder: Path, *, force: bool = False) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into `folder`.

    Args:
        name: the environment's name.
        folder: made if it does not exist.
        force: overwrite files of these names.

    Returns:
        The files, in the order in which to read them.

    Raises:
        FilesExistError: a file of that name exists and `force` is not set; nothing was written.
    """
    return _write("one_file", name, folder, force)


def write_package(name: EnvironmentName, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the package ``NAME/`` in the layout of published environments into `folder`.

    Args:
        name: the environment's name.
        folder: where the package's folder is made.
        force: overwrite files in it.

    Returns:
        The files, in the order in which to read them.

    Raises:
        FilesExistError: one of the files exists and `force` is not set; nothing was written.
    """
    return _write("package", name, folder / name.module, force)


def _write(template: str, name: EnvironmentName, folder: Path, force: bool) -> list[Path]:
    root = files("openenv.scaffold").joinpath("templates", template)
    texts = {folder / _path(part, name): _fill(text, name) for part, text in _templates(root)}
    existing = sorted(path for path in texts if path.exists())
    if existing and not force:
        raise FilesExistError(existing)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(
        texts, key=lambda path: (len(path.parts), path.name.startswith((".", "_", "test_")), path.name)
    )


def _templates(root: Traversable, inside: str = "") -> list[tuple[str, str]]:
    found = []
    for entry in root.iterdir():
        part = f"{inside}{entry.name}"
        if entry.is_dir():
            found += _templates(entry, f"{part}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((part.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")))
    return found


def _path(part: str, name: EnvironmentName) -> Path:
    return Path(part.replace("NAME", name.module).replace("dot_", "."))


def _fill(text: str, name: EnvironmentName) -> str:
    return _FIELD.sub(lambda match: str(getattr(name, match[1])), text)
