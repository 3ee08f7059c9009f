"""Names of new environments: what is allowed, and a better one when it is not.

The name becomes a Python module, a class, a distribution and an image, so it is a lower-case identifier
that hides no other module.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules

from openenv.errors import UsageError

_RESERVED = frozenset({"openenv", "openenv_core", "server", "client", "models", "tests", "test", "env"})
_LONGEST = 60


class InvalidNameError(UsageError):
    """A name that cannot be a new environment's.

    Attributes:
        suggestion: a name that can.
    """

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.suggestion = suggestion

    @property
    def next_commands(self) -> list[str]:
        """What to type instead."""
        return [f"openenv init {self.suggestion}"]


@dataclass(frozen=True, slots=True)
class EnvironmentName:
    """One name in its spellings.

    Attributes:
        module: ``guess_env``.
    """

    module: str

    @property
    def class_name(self) -> str:
        """``GuessEnv``."""
        return _pascal(self.module)

    @property
    def prefix(self) -> str:
        """``Guess``: what the classes of a package start with, without the ending ``_env``."""
        return _pascal(self.module.removesuffix("_env")) or self.class_name

    @property
    def title(self) -> str:
        """``Guess``: for headings."""
        return self.module.removesuffix("_env").replace("_", " ").capitalize()

    @property
    def dashed(self) -> str:
        """``guess-env``: for distributions and images."""
        return self.module.replace("_", "-")


def check_name(name: str) -> EnvironmentName:
    """The spellings of `name`.

    Raises:
        InvalidNameError: it cannot be the name of a new environment; the error suggests one that can.
    """
    problem = _problem(name)
    if problem:
        raise InvalidNameError(f"{name!r} cannot be the name of an environment: {problem}.", _suggest(name))
    return EnvironmentName(name)


def _problem(name: str) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "it must be lower-case letters, digits and underscores, and start with a letter"
    if len(name) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    if name.endswith("_") or "__" in name:
        return "underscores stand between words"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a word of the Python language"
    if name.startswith("test_"):
        return "pytest would take its file for a test"
    if name in _RESERVED:
        return "it is used for a part of every environment"
    if name in _shipped():
        return f"`openenv serve {name}` means the environment that ships with openenv"
    if name in sys.stdlib_module_names or _installed(name):
        return f"it would hide the installed module `{name}`"
    return None


def _suggest(name: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", Path(name).stem).lower()
    candidate = re.sub(r"[^a-z0-9]+", "_", words).strip("_").removeprefix("test_")[: _LONGEST - 4].strip("_")
    if not candidate:
        return "my_env"
    if not candidate[0].isalpha():
        candidate = f"env_{candidate}"
    for attempt in (candidate, f"{candidate}_env", f"my_{candidate}"):
        if _problem(attempt) is None:
            return attempt
    return "my_env"


def _shipped() -> set[str]:
    folder = Path(__file__).resolve().parents[1] / "envs"
    return {module.name for module in iter_modules([str(folder)])}


def _installed(name: str) -> bool:
    """Whether `name` is a module other than one in the working folder."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False
    places = spec.submodule_search_locations or [spec.origin or ""]
    return any(Path(place).resolve().parent != Path.cwd() for place in places)


def _pascal(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))
