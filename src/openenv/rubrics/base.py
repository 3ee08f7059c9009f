"""The `Rubric`: a scorer that can be part of a tree of scorers.

Calling a rubric runs its pre-hooks, `forward`, the check of the score, and its hooks. All of it is one
generator driven by `openenv._drive`: the call returns a number, or a coroutine exactly when `forward`, a
child or a hook is async. A tree of sync rubrics returns a number inside a running event loop too.

A rubric keeps state (`last_score`, a trajectory), so an instance belongs to one session. Sessions get
their own through `openenv.rubrics.instantiate`.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from inspect import isawaitable
from typing import Any, ClassVar

from openenv._drive import Steps, drive
from openenv.errors import RubricError

Score = float | Awaitable[float]
"""What `forward` returns: a number, or an awaitable of one."""

ForwardHook = Callable[["Rubric", Any, Any, float], Any]
ForwardPreHook = Callable[["Rubric", Any, Any], Any]


class Rubric(ABC):
    """Computes a reward from an action and the observation that it led to.

    Subclasses implement `forward`, as `def` or `async def`. A rubric assigned to an attribute becomes a
    child under that attribute's name.

    Attributes:
        last_score: what the last call scored; None before the first call, after `reset`, and when the
            last call of the parent left this rubric out.
    """

    last_score: float | None

    _rubric_children: dict[str, Rubric]
    _forward_hooks: list[ForwardHook]
    _forward_pre_hooks: list[ForwardPreHook]
    _is_group: ClassVar[bool] = False
    """Whether it only holds children and is never called itself."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Rubric:
        """Prepare the registries, so that a subclass may assign children before `super().__init__()`."""
        self = super().__new__(cls)
        self.__dict__.update(_rubric_children={}, _forward_hooks=[], _forward_pre_hooks=[], last_score=None)
        return self

    def __init__(self) -> None:  # noqa: B027 (subclasses call it by custom)
        """Do nothing: present so that subclasses may call `super().__init__()`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Rubric):
            self._rubric_children[name] = value
        else:
            self._rubric_children.pop(name, None)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._rubric_children.pop(name, None)
        object.__delattr__(self, name)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={child!r}" for name, child in self.named_children())
        return f"{type(self).__name__}({inner})"

    def __call__(self, action: Any, observation: Any) -> Any:
        """Score one step.

        Args:
            action: the action taken.
            observation: the observation it led to.

        Returns:
            The score; a coroutine of it if `forward`, a child or a hook is async.

        Raises:
            RubricError: a score is not a finite number; it names the rubric's path.
        """
        return drive(self._evaluate(action, observation))

    @abstractmethod
    def forward(self, action: Any, observation: Any) -> Score:
        """Return the score of one step, usually between 0 and 1.

        Args:
            action: the action taken.
            observation: the observation it led to.
        """

    def _evaluate(self, action: Any, observation: Any) -> Steps[float]:
        _forget_scores(self)
        for pre_hook in tuple(self._forward_pre_hooks):
            if isawaitable(done := pre_hook(self, action, observation)):
                yield done
        try:
            raw: Any = self.forward(action, observation)
            if isawaitable(raw):
                raw = yield raw
        except RubricError as error:
            _lengthen_path(error, self)
            raise
        score = _checked(self, raw)
        self.last_score = score
        for hook in tuple(self._forward_hooks):
            if isawaitable(done := hook(self, action, observation, score)):
                yield done
        return score

    def register_forward_hook(self, hook: ForwardHook) -> None:
        """Call `hook(rubric, action, observation, score)` after every `forward`; it may be async."""
        self._forward_hooks.append(hook)

    def register_forward_pre_hook(self, hook: ForwardPreHook) -> None:
        """Call `hook(rubric, action, observation)` before every `forward`; it may be async."""
        self._forward_pre_hooks.append(hook)

    def children(self) -> Iterator[Rubric]:
        """Yield the direct children."""
        yield from self._rubric_children.values()

    def named_children(self) -> Iterator[tuple[str, Rubric]]:
        """Yield the direct children with their names."""
        yield from self._rubric_children.items()

    def rubrics(self) -> Iterator[Rubric]:
        """Yield all descendants, depth first, each parent before its children."""
        for _, rubric in self.named_rubrics():
            yield rubric

    def named_rubrics(self, prefix: str = "") -> Iterator[tuple[str, Rubric]]:
        """Yield all descendants with their dotted paths, depth first.

        Args:
            prefix: put before each path.
        """
        for name, child in self._rubric_children.items():
            path = f"{prefix}.{name}" if prefix else name
            yield path, child
            yield from child.named_rubrics(path)

    def get_rubric(self, path: str) -> Rubric:
        """Return the descendant at a dotted path such as ``"code.syntax"``.

        Raises:
            KeyError: there is none.
        """
        rubric = self
        for name in path.split("."):
            if name not in rubric._rubric_children:
                known = ", ".join(known for known, _ in self.named_rubrics()) or "no children"
                raise KeyError(f"no rubric at {path!r}; there is: {known}")
            rubric = rubric._rubric_children[name]
        return rubric

    def reset(self) -> None:
        """Forget the episode: `last_score` here, and everything below.

        Subclasses with state of their own override it and call `super().reset()`.
        """
        self.last_score = None
        for child in self.children():
            child.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return the configuration for a checkpoint: the children's entries under dotted keys."""
        return {
            f"{name}.{key}": value
            for name, child in self.named_children()
            for key, value in child.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; keys that belong to no child are ignored."""
        for name, child in self.named_children():
            start = f"{name}."
            own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
            if own:
                child.load_state_dict(own)


def _forget_scores(parent: Rubric) -> None:
    """Clear the children's scores, so that one left out of this call does not show an old score."""
    for child in parent.children():
        child.last_score = None
        if child._is_group:
            _forget_scores(child)


def _checked(rubric: Rubric, score: Any) -> float:
    """Return `score` as a number; 0-d arrays and tensors count as the number they hold."""
    value = score
    if not isinstance(value, numbers.Real) and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (bool, int, float)):
        number: float = value
    elif isinstance(value, numbers.Real):
        number = float(value)
    else:
        hint = "; did it forget to return?" if score is None else ""
        raise _bad_score(rubric, score, f"{type(score).__name__}, not a number{hint}")
    if not math.isfinite(number):
        raise _bad_score(rubric, score, f"{number}, which is not finite")
    return number


def _bad_score(rubric: Rubric, score: Any, problem: str) -> RubricError:
    error = RubricError(score=score)
    error.__dict__.update(_origin=id(rubric), _problem=f"({type(rubric).__name__}) scored {problem}")
    _lengthen_path(error, rubric)
    return error


def _lengthen_path(error: RubricError, ancestor: Rubric) -> None:
    """Make `error` name its rubric's path as seen from `ancestor`."""
    origin = error.__dict__.get("_origin")
    if origin is None:
        return
    error.rubric = next(
        (path for path, rubric in ancestor.named_rubrics() if id(rubric) == origin), error.rubric
    )
    where = f"rubric {error.rubric!r}" if error.rubric else "rubric"
    error.message = f"{where} {error.__dict__['_problem']}"
    error.args = (error.message,)
