"""Environments that the tests of the command line write into files."""

GAME = '''
import time
from typing import Annotated, Any

from pydantic import Field

from openenv import Environment, Outcome, hidden


class Game(Environment, name="game", max_steps=8):
    """Count up to a secret number."""

    turns: int = 0
    board: dict[str, int] = {}
    secret: int = hidden(default=0)

    def reset(self, bonus: int = 0) -> str:
        self.turns = bonus
        self.board = {}
        self.secret = self.rng.randint(1, 5)
        return "go"

    def step(self, move: Annotated[int, Field(ge=0, le=9)]) -> str | Outcome[str]:
        """Move.

        Args:
            move: where to.
        """
        if move == 9:
            raise ZeroDivisionError("nine is not allowed")
        if move == 8:
            time.sleep(30)
        self.turns += 1
        self.board[str(move)] = self.turns
        if move == self.secret:
            return Outcome("found", reward=1.0, terminated=True, reason="found", components={"speed": 0.5})
        return Outcome("no", reward=-0.5)
'''

BROKEN = '''
from openenv import Environment


class Broken(Environment, name="broken"):
    """Raises while it is made."""

    def __init__(self) -> None:
        raise ValueError("no board")

    def reset(self) -> str:
        return "never"

    def step(self, move: int) -> str:
        return "never"
'''

CALM = '''
from openenv import Environment, Outcome


class Calm(Environment, name="calm", max_steps=4):
    """Nothing goes wrong here."""

    total: int = 0

    def reset(self) -> str:
        self.total = 0
        return "ready"

    def step(self, up: bool) -> Outcome[int]:
        self.total += 1 if up else -1
        return Outcome(self.total, reward=float(up))
'''

STRICT = '''
from openenv import Action, Environment, Observation
from pydantic import field_validator


class Word(Action):
    word: str

    @field_validator("word")
    @classmethod
    def known(cls, value: str) -> str:
        if value != "please":
            raise ValueError("say please")
        return value


class Strict(Environment, name="strict", max_steps=3):
    """Takes one word only, which its schema does not say."""

    def reset(self) -> Observation:
        return Observation()

    def step(self, action: Word) -> Observation:
        return Observation(reward=1.0)
'''

UNMADE = '''
from openenv import Environment


class Unmade(Environment, name="unmade"):
    """Has no step."""

    def reset(self) -> str:
        return "x"
'''
