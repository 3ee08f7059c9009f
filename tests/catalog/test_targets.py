import subprocess
import sys
from pathlib import Path

import pytest

import openenv
from openenv.catalog import PublishedApp, RemoteTarget, resolve, resolve_spec
from openenv.environment import EnvironmentSpec
from openenv.errors import DefinitionError, TargetError

GUESS = """
import openenv

class Guess(openenv.Environment):
    '''Guess a number.'''

    def step(self, guess: int) -> str:
        return "higher"
"""

TWO = (
    GUESS
    + """

class Other(Guess):
    pass


class Third(openenv.Environment):
    def step(self, x: int) -> int:
        return x
"""
)

APP = """
from openenv.core.env_server import Action, Environment, Observation, State, create_app

class Plain(Environment):
    def reset(self):
        return Observation()
    def step(self, action):
        return Observation(reward=2.0)
    state = property(lambda self: State())

app = create_app(Plain, Action, Observation, env_name="plain")
"""


class Here(openenv.Environment):
    def step(self, x: int) -> int:
        return x


def make_here() -> Here:
    return Here()


@pytest.mark.parametrize(
    "target", ["game.py", "./game.py", "game.py:Guess", "sub/../game.py", "game", "game:Guess"]
)
def test_a_file_or_module(folder, target):
    folder({"game.py": GUESS, "sub/x.txt": ""})
    spec = resolve(target)
    assert isinstance(spec, EnvironmentSpec)
    assert spec.name == "guess"
    assert spec is resolve(target)


def test_a_path_object(folder):
    root = folder({"game.py": GUESS})
    assert resolve(root / "game.py").name == "guess"
    assert resolve(Path("game.py")).cls is resolve(f"{root}/game.py").cls


def test_a_file_is_loaded_once_whatever_it_is_called(folder):
    folder({"game.py": GUESS})
    by_module = resolve("game")
    assert resolve("game.py") is by_module
    assert resolve("./game.py:Guess") is by_module


def test_one_of_several_classes(folder):
    folder({"games.py": TWO})
    with pytest.raises(
        TargetError, match=r"several environments; say which one: .*games.py:Other, .*games.py:Third$"
    ):
        resolve("games.py")
    assert resolve("games.py:Other").cls.__name__ == "Other"
    assert resolve("games.py:Guess").cls.__name__ == "Guess"


def test_files_with_neighbours(folder):
    folder(
        {
            "flat/env.py": GUESS + "\nimport helper\nassert helper.WHERE == 'flat'\n",
            "flat/helper.py": "WHERE = 'flat'",
            "other/env.py": GUESS + "\nimport helper\nassert helper.WHERE == 'other'\n",
            "other/helper.py": "WHERE = 'other'",
            "pkg/__init__.py": "",
            "pkg/shared.py": "X = 1",
            "pkg/envs/__init__.py": "",
            "pkg/envs/deep.py": GUESS + "\nfrom ..shared import X\n",
        }
    )
    specs = [resolve(name) for name in ("flat/env.py", "other/env.py", "pkg/envs/deep.py")]
    assert len({spec.cls for spec in specs}) == 3


def test_a_file_of_a_published_package(folder):
    folder(
        {
            "my_env/openenv.yaml": "name: my_env",
            "my_env/models.py": "X = 1",
            "my_env/server/environment.py": GUESS
            + "\nfrom models import X\nfrom my_env.models import X as Y\n",
            "my_env/server/app.py": "",
        }
    )
    assert resolve("my_env/server/environment.py").name == "guess"


def test_odd_file_names_and_names_of_the_standard_library(folder):
    folder({"01-guess.py": GUESS, "random.py": GUESS})
    assert resolve("01-guess.py").name == "guess"
    assert resolve("./random.py").name == "guess"


def test_applications(folder):
    folder({"served.py": APP, "pkg/openenv.yaml": "name: packed", "pkg/server/app.py": APP})
    for target in ("served.py", "served:app", "served.py:app"):
        found = resolve(target)
        assert isinstance(found, PublishedApp)
        assert (found.name, found.spec.name) == ("plain", "plain")
    for target in ("pkg", "./pkg", "pkg/"):
        assert resolve(target).name == "packed"
    assert resolve(resolve("served").app).spec.name == "plain"
    assert resolve_spec("pkg").name == "plain"


def test_shipped_names():
    assert resolve("echo").cls.__name__ == "EchoEnvironment"
    assert resolve("echo:TypedEcho").cls.__name__ == "TypedEcho"


def test_a_shipped_name_wins_over_a_folder_of_that_name(folder):
    folder({"echo/openenv.yaml": "name: mine", "echo/server/app.py": APP})
    assert isinstance(resolve("echo"), EnvironmentSpec)
    assert resolve("./echo").name == "mine"


@pytest.mark.parametrize("url", ["http://a:1", "HTTPS://a", "ws://a/x", "wss://a", "unix:/tmp/s"])
def test_servers(url):
    assert resolve(url) == RemoteTarget(url)
    with pytest.raises(TargetError, match="runs there, not in this process"):
        resolve_spec(url)


def test_objects():
    spec = resolve(Here)
    assert spec.cls is Here
    assert resolve(spec) is spec
    assert resolve(make_here).cls is Here
    assert resolve(RemoteTarget("http://a")) == RemoteTarget("http://a")
    with pytest.raises(TargetError, match="give the class Here"):
        resolve(Here())
    with pytest.raises(TargetError, match="int, not an environment class"):
        resolve(3)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "empty target"),
        ("game.py:Gues", r"defines no 'Gues'; did you mean 'Guess'\?"),
        ("game.py:Zebra", r"defines no 'Zebra'; it defines Guess"),
        ("gane.py", r"there is no file .*gane.py; did you mean .*game.py\?"),
        ("gane", r"leads to no environment. Tried a shipped name \(coding, echo\), .*Did you mean"),
        ("ecoh", r"Did you mean 'echo'\?"),
        ("no/where/game.py", "nor a folder"),
        ("no/where", "there is no file or folder"),
        ("empty", r"neither openenv.yaml nor server/app.py. It has no Python file"),
        ("./code", r"Did you mean code/game.py, code/packed\?"),
        ("./code:Guess", "is a folder; name a file in it"),
        ("nothing.py", "defines no environment"),
        ("broken.py", r"SyntaxError"),
        ("raises.py", r"ZeroDivisionError: division by zero \(raises.py, line 1\)"),
        ("raises", r"ZeroDivisionError"),
        ("lacks.py", "No module named 'marlin_library'"),
        ("lacks", "No module named 'marlin_library'"),
        ("game.missing", "leads to no environment"),
        ("a b", "neither a path"),
        ("game.py:value", "value is int, not an environment class"),
    ],
)
def test_what_leads_nowhere_is_explained(folder, target, message):
    folder(
        {
            "game.py": GUESS + "\nvalue = 3\n",
            "empty/x.txt": "",
            "code/game.py": GUESS,
            "code/packed/openenv.yaml": "",
            "nothing.py": "x = 1",
            "broken.py": "def",
            "raises.py": "1 / 0",
            "lacks.py": "import marlin_library",
        }
    )
    with pytest.raises(TargetError, match=message):
        resolve("./empty" if target == "empty" else target)


def test_a_file_can_be_repaired_and_loaded_again(folder):
    root = folder({"game.py": "1 / 0"})
    with pytest.raises(TargetError):
        resolve("game.py")
    (root / "game.py").write_text(GUESS)
    assert resolve("game.py").name == "guess"


def test_a_class_that_cannot_be_served_says_why(folder):
    folder({"bad.py": "import openenv\n\nclass Bad(openenv.Environment):\n    pass\n"})
    with pytest.raises(DefinitionError, match=r"bad.py"):
        resolve("bad.py")


def test_abstract_private_and_imported_classes_do_not_count(folder):
    folder(
        {
            "base.py": GUESS,
            "game.py": """
                from abc import abstractmethod
                from base import Guess
                import openenv

                class Abstract(openenv.Environment):
                    @abstractmethod
                    def step(self, x: int) -> int: ...

                class _Hidden(openenv.Environment):
                    def step(self, x: int) -> int:
                        return x

                class Game(Abstract):
                    def step(self, x: int) -> int:
                        return x
                """,
        }
    )
    assert resolve("game.py").cls.__name__ == "Game"


def test_a_script_can_name_itself(folder):
    """Its classes are those of `__main__`, not second ones."""
    program = GUESS + "\nfrom openenv.catalog import resolve\nprint(resolve(__file__).cls is Guess)\n"
    root = folder({"script.py": program})
    done = subprocess.run([sys.executable, root / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_dir_and_names_of_the_catalog():
    import openenv.catalog as catalog

    assert set(dir(catalog)) == set(catalog.__all__)
    assert all(getattr(catalog, name) is not None for name in catalog.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = catalog.nonsense


def test_a_folder_of_modules_below_the_current_directory(folder, monkeypatch):
    root = folder({"games_of_mine/__init__.py": "", "games_of_mine/guess.py": GUESS, "lone_game.py": GUESS})
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(root))])
    assert resolve("games_of_mine.guess").name == "guess"
    assert resolve("lone_game:Guess").name == "guess"
    assert resolve("lone_game") is resolve("lone_game.py")
