"""The loop of `openenv play`: reset, ask for an action, step, show what came back."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from openenv.cli._output import paint, printable
from openenv.cli._play.answers import NotUnderstoodError
from openenv.cli._play.diff import changes, render
from openenv.cli._play.forms import CommandTyped, Form
from openenv.cli._play.show import observation_lines, reward_line
from openenv.errors import ActionError, EnvironmentFailedError, InvalidActionError, OrderError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.types import StepResult

COMMANDS = (
    (":reset [SEED] [JSON]", "start a new episode, with a seed and options if given"),
    (":state", "show the public state"),
    (":schema", "show what an action looks like"),
    (":help", "show these lines"),
    (":quit", "leave; so does Ctrl-D"),
)

_UNTOLD_STATE = ("episode_id", "step_count")


class Playable(Protocol):
    """The part of `openenv.client.Env` that a game needs."""

    def reset(self, *, seed: int | None = None, **options: Any) -> Any: ...
    def step(self, action: Any, /) -> StepResult[Any]: ...
    def state(self) -> Any: ...

    @property
    def last(self) -> StepResult[Any] | None: ...


class Game:
    """One player at one environment.

    Args:
        env: the environment.
        schema: JSON Schema of its actions.
        read: shows a prompt and returns a line; raises EOFError at the end of input.
        show: shows a line.
        record: is given every result as JSON, for `--jsonl`.
        forms: ask field by field; otherwise a line is an action.
    """

    def __init__(
        self,
        env: Playable,
        schema: dict[str, Any],
        *,
        read: Callable[[str], str],
        show: Callable[[str], None],
        record: Callable[[dict[str, Any]], None] | None = None,
        forms: bool = True,
    ) -> None:
        self._env = env
        self._schema = schema
        self._read = read
        self._show = show
        self._record = record or (lambda event: None)
        self._form = Form(schema, read, show)
        self._forms = forms
        self._state: Any = {}
        self._return = 0.0
        self._over = False
        self.failures = 0

    def play(self, seed: int | None = None) -> None:
        """Play until the player leaves.

        Args:
            seed: seed of the first episode.
        """
        self._guard(lambda: self._reset(seed, {}))
        while True:
            try:
                if self._forms and self._over:
                    self._ask_again()
                    continue
                action = self._form.fill() if self._forms else self._from_line()
            except CommandTyped as command:
                if not self._obey(command.line):
                    return
                continue
            except NotUnderstoodError as problem:
                self._fail(str(problem))
                continue
            except EOFError:
                return
            if action is not None:
                self._guard(partial(self._step, action))

    def _from_line(self) -> Any:
        """The action in the next line; None for an empty line or a comment."""
        line = self._read("").strip()
        if line.startswith(":"):
            raise CommandTyped(line[1:].strip())
        if not line or line.startswith("#"):
            return None
        return self._form.from_line(line)

    def _ask_again(self) -> None:
        answer = self._read("The episode is over. Play again? (Y/n, or a :command): ").strip()
        if answer.startswith(":"):
            raise CommandTyped(answer[1:].strip())
        if answer.lower() in ("n", "no", "q", "quit"):
            raise EOFError
        self._guard(lambda: self._reset(None, {}))

    def _guard(self, call: Callable[[], None]) -> None:
        """Run one call; what the environment refuses or fails at is shown, and the game goes on."""
        try:
            call()
        except InvalidActionError as error:
            lines = [
                f"{'.'.join(map(str, item.get('loc', ()))) or 'action'}: {item.get('msg')}"
                for item in error.errors
            ]
            self._fail("invalid action: " + "; ".join(lines or [str(error)]), outcome=error.outcome)
        except (ActionError, EnvironmentFailedError) as error:
            self._fail(str(error), outcome=error.outcome)
            if isinstance(error, OrderError) or error.session_fate == "needs_reset":
                self._over = True
                self._show(paint("  :reset starts a new episode", "dim"))

    def _fail(self, message: str, outcome: str = "not_understood") -> None:
        self.failures += 1
        self._show(paint(printable(f"  {message}"), "red"))
        self._record({"kind": "error", "outcome": str(outcome), "message": message})

    def _reset(self, seed: int | None, options: dict[str, Any]) -> None:
        self._env.reset(seed=seed, **options)
        result = self._env.last
        self._over, self._return = False, 0.0
        seed_note = f", seed {result.seed}" if result is not None and result.seed is not None else ""
        self._show(paint(f"reset{seed_note}", "bold"))
        if result is not None:
            self._tell("reset", result, None)

    def _step(self, action: Any) -> None:
        result = self._env.step(action)
        self._return += float(result.reward or 0.0)
        self._tell("step", result, action)
        if result.done:
            self._over = True
            reason = f" ({result.reason})" if result.reason else ""
            self._show(paint(f"  {result.status.value}{reason} after {result.step} steps", "bold"))

    def _tell(self, kind: str, result: StepResult[Any], action: Any) -> None:
        before, self._state = self._state, to_jsonable(self._env.state())
        observation = to_jsonable(result.observation)
        for line in observation_lines(observation):
            self._show(f"  {line}")
        if kind == "step":
            self._show(f"  {reward_line(result, self._return)}")
            for line in render([c for c in changes(before, self._state) if c.path not in _UNTOLD_STATE]):
                self._show(f"  {line}")
        event = {"kind": kind, "action": action, "observation": observation, "reward": result.reward}
        event |= {"done": result.done, "outcome": result.outcome.value, "status": result.status.value}
        event |= {"reason": result.reason, "components": dict(result.components), "seed": result.seed}
        self._record(event | {"step": result.step, "state": self._state})

    def _obey(self, line: str) -> bool:
        """Do what a command says; whether the game goes on."""
        word, _, rest = line.partition(" ")
        if word in ("q", "quit", "exit"):
            return False
        if word == "reset":
            self._guard(lambda: self._reset(*_reset_arguments(rest)))
        elif word == "state":
            self._state = to_jsonable(self._env.state())
            self._show(printable(json.dumps(self._state, indent=2, ensure_ascii=False)))
            self._record({"kind": "state", "state": self._state})
        elif word == "schema":
            self._show(printable(json.dumps(self._schema, indent=2, ensure_ascii=False)))
        else:
            if word not in ("help", "h", "?"):
                self._fail(f"there is no command :{word}")
            self.explain()
        return True

    def explain(self) -> None:
        """Show the commands and the ways to answer."""
        for name, text in COMMANDS:
            self._show(f"  {paint(f'{name:<22}', 'cyan')}{text}")
        self._show(f"  {paint('{...}'.ljust(22), 'cyan')}a whole action as JSON")
        marks = '"""'
        self._show(f"  {paint(marks.ljust(22), 'cyan')}begins and ends a text of several lines")


def _reset_arguments(rest: str) -> tuple[int | None, dict[str, Any]]:
    """Seed and options of `:reset 3 {"difficulty": 2}`."""
    text = rest.strip()
    first, _, tail = text.partition(" ")
    seed = int(first) if first.lstrip("-").isdecimal() else None
    options = tail if seed is not None else text
    try:
        value = json.loads(options) if options.strip() else {}
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidActionError('write :reset, :reset SEED or :reset SEED {"option": value}')
    return seed, value
