"""From a right solution to a problem: statement, starter file, hidden tests."""

from __future__ import annotations

import ast
import inspect
import random
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from openenv.envs.coding.tasks import CallCase, Problem, RunCase

Inputs = Callable[[random.Random], Iterable[Any]]
"""Makes the inputs of the hidden tests: tuples of arguments, or texts for standard input."""


@dataclass(frozen=True)
class Made:
    """A problem to be made when it is needed.

    Attributes:
        split: `train` or `test`.
        problem: makes it; the same one every time.
    """

    split: str
    problem: Callable[[], Problem]


class Collection(list[Made]):
    """The problems of one module; its methods are decorators of right solutions."""

    def function(self, split: str, inputs: Inputs) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add a problem whose answer is this function; its docstring is the statement."""

        def add(solution: Callable[..., Any]) -> Callable[..., Any]:
            self.append(Made(split, cache(lambda: _function(solution, inputs))))
            return solution

        return add

    def program(self, split: str, inputs: Inputs) -> Callable[[Callable[[str], str]], Callable[[str], str]]:
        """Add a problem whose answer is a program that prints what this function of its input returns."""

        def add(solution: Callable[[str], str]) -> Callable[[str], str]:
            self.append(Made(split, cache(lambda: _program(solution, inputs))))
            return solution

        return add

    def repository(self, split: str, make: Callable[[], Problem]) -> None:
        """Add a problem that is written out."""
        self.append(Made(split, cache(make)))


def _drawn(name: str, inputs: Inputs) -> list[Any]:
    return list(inputs(random.Random(f"coding/{name}")))  # noqa: S311 (reproducible by design)


def _source(solution: Callable[..., Any]) -> tuple[str, str, str]:
    """The solution without its decorator, its head with the docstring, and the docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(solution)))
    (node,) = tree.body
    assert isinstance(node, ast.FunctionDef)  # noqa: S101 - decorators above apply to functions
    node.decorator_list = []
    whole = ast.unparse(tree)
    node.body = node.body[:1]
    return whole, ast.unparse(tree), inspect.cleandoc(solution.__doc__ or "")


def _function(solution: Callable[..., Any], inputs: Inputs) -> Problem:
    name = solution.__name__
    whole, head, statement = _source(solution)
    cases = tuple(
        CallCase(args, solution(*_copied(args)), f"solution:{name}") for args in _drawn(name, inputs)
    )
    asked = f"Write the function `{name}` in `solution.py`.\n\n{statement}\n\n```python\n{head}\n```"
    return Problem(
        id=name,
        kind="function",
        prompt=asked,
        cases=cases,
        entry_point=name,
        files={"solution.py": f"{head}\n    raise NotImplementedError\n"},
        oracle={"solution.py": f"{whole}\n"},
    )


def _program(solution: Callable[[str], str], inputs: Inputs) -> Problem:
    name = solution.__name__
    whole, _, statement = _source(solution)
    cases = tuple(RunCase(("python3", "main.py"), text, solution(text)) for text in _drawn(name, inputs))
    sample = cases[0]
    asked = (
        "Write a program in `main.py` that reads standard input and prints its answer.\n\n"
        f"{statement}\n\nInput:\n```\n{sample.stdin.rstrip()}\n```\nOutput:\n```\n{sample.stdout}\n```"
    )
    return Problem(
        id=name,
        kind="program",
        prompt=asked,
        cases=cases,
        submission="main.py",
        test_command="python3 main.py",
        oracle={"main.py": f"import sys\n\n{whole}\n\nprint({name}(sys.stdin.read()))\n"},
    )


def _copied(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_copied(one) for one in value)
    return dict(value) if isinstance(value, dict) else value


def some_ints(rng: random.Random, least: int, most: int, low: int, high: int) -> list[int]:
    """Draw a list of `least` to `most` whole numbers from `low` to `high`."""
    return [rng.randint(low, high) for _ in range(rng.randint(least, most))]


def some_text(rng: random.Random, least: int, most: int, letters: str = "abcde") -> str:
    """Draw a text of `least` to `most` of these letters."""
    return "".join(rng.choice(letters) for _ in range(rng.randint(least, most)))


def some_words(rng: random.Random, least: int, most: int, letters: str = "abc") -> list[str]:
    """Draw a list of words of one to four letters."""
    return [some_text(rng, 1, 4, letters) for _ in range(rng.randint(least, most))]
