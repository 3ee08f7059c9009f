"""Which arguments `reset` and `step` get."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from openenv.environment import Environment, describe
from openenv.errors import InvalidActionError
from openenv.types import Action, Observation


class Go(Action):
    n: int = 0


class Keep(Environment):
    """Keeps what it was called with."""

    def __init__(self) -> None:
        self.got: Any = None


def called(cls: type, *, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Any:
    spec = describe(cls)
    env = spec.make()
    spec.call_reset(env, seed=seed, episode_id=episode_id, options=options)
    return env.got


def stepped(cls: type, **more: Any) -> Any:
    spec = describe(cls)
    env = spec.make()
    spec.call_step(env, Go(), **more)
    return env.got


class Published(Keep):
    def reset(self, seed=None, episode_id=None, **kwargs):
        self.got = {"seed": seed, "episode_id": episode_id, **kwargs}
        return Observation()

    def step(self, action: Go, timeout_s=None, **kwargs):
        self.got = {"timeout_s": timeout_s, **kwargs}
        return Observation()


class Narrow(Keep):
    def reset(self, difficulty="easy"):
        self.got = difficulty
        return Observation()

    def step(self, action: Go):
        self.got = "called"
        return Observation()


class ByName(Keep):
    def step(self, *, action: Go, timeout_s: float | None = None):
        self.got = (action, timeout_s)
        return Observation()


class Wrapped(Keep):
    def step(*args: Any, **kwargs: Any) -> Any:
        args[0].got = (args[1:], kwargs)
        return Observation()


class Asynchronous(Keep):
    async def reset_async(self, seed=None, **kwargs):
        self.got = seed
        return Observation()

    async def step_async(self, action: Go, timeout_s=None):
        self.got = timeout_s
        return Observation()


class TestModelStyle:
    def test_reset_gets_what_was_given(self):
        assert called(Published) == {"seed": None, "episode_id": None}
        assert called(Published, seed=3, episode_id="e", x=1) == {"seed": 3, "episode_id": "e", "x": 1}

    def test_reset_gets_only_what_it_takes(self):
        assert called(Narrow, seed=3, episode_id="e", x=1) == "easy"
        assert called(Narrow, difficulty=["unchecked"]) == ["unchecked"]

    def test_step_gets_only_what_it_takes(self):
        assert stepped(Published) == {"timeout_s": None}
        assert stepped(Published, timeout_s=2.0, extra={"request_id": "r", "action": 1}) == {
            "timeout_s": 2.0,
            "request_id": "r",
        }
        assert stepped(Narrow, timeout_s=2.0, extra={"request_id": "r"}) == "called"

    def test_action_by_name(self):
        assert stepped(ByName, timeout_s=1.0) == (Go(), 1.0)

    def test_a_wrapper_that_takes_anything(self):
        spec = describe(Wrapped, action_type=Go)
        env = spec.make()
        spec.call_step(env, Go(), timeout_s=1.0)
        assert env.got == ((Go(),), {"timeout_s": 1.0})

    async def test_asynchronous_forms(self):
        spec = describe(Asynchronous)
        assert (spec.is_async, spec.async_reset, spec.async_step) == (True, True, True)
        env = spec.make()
        await spec.call_reset(env, seed=5)
        assert env.got == 5
        await spec.call_step(env, Go(), timeout_s=1.5)
        assert env.got == 1.5

    async def test_only_the_step_is_asynchronous(self):
        class Half(Narrow):
            async def step_async(self, action: Go) -> Observation:
                return Observation()

        spec = describe(Half)
        assert (spec.is_async, spec.async_reset, spec.async_step) == (True, False, True)
        env = spec.make()
        assert spec.call_reset(env) == Observation()
        assert await spec.call_step(env, Go()) == Observation()


class Typed(Keep):
    def reset(
        self,
        level: Annotated[int, Field(ge=1)],
        seed: int | None = None,
        names: list[str] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """Start.

        Args:
            level: how hard.
            strict: whether mistakes end it.
        """
        self.got = (level, seed, names, strict)

    def step(self, x: int) -> int:
        return x


class TestOptions:
    def test_are_validated_and_converted(self):
        assert called(Typed, seed=2, level="3", strict="yes", unknown=1) == (3, 2, None, True)

    @pytest.mark.parametrize(
        ("options", "loc"),
        [({}, ["level"]), ({"level": 0}, ["level"]), ({"level": 1, "names": [1]}, ["names", 0])],
    )
    def test_wrong_ones_are_named(self, options, loc):
        with pytest.raises(InvalidActionError) as caught:
            called(Typed, **options)
        assert caught.value.errors[0]["loc"] == loc
        assert caught.value.message.startswith("Invalid reset option: " + ".".join(map(str, loc)))

    def test_have_a_schema(self):
        schema = describe(Typed).reset_schema()
        properties = schema["properties"]
        assert list(properties) == ["seed", "episode_id", "level", "names", "strict"]
        assert properties["level"]["minimum"] == 1
        assert properties["level"]["description"] == "how hard."
        assert schema["required"] == ["level"]

    def test_defaults_are_not_shared(self):
        class Shared(Keep):
            def reset(self, bag: list[int] = []) -> None:  # noqa: B006
                bag.append(1)
                self.got = bag

            def step(self, x: int) -> int:
                return x

        assert called(Shared) == [1]
        assert called(Shared) == [1]

    def test_kwargs_take_the_rest_unchecked(self):
        class Open(Keep):
            def reset(self, level: int = 1, **more: Any) -> None:
                self.got = (level, more)

            def step(self, x: int) -> int:
                return x

        assert called(Open, seed=1, level="2", colour="red") == (2, {"colour": "red", "seed": 1})

    def test_without_options(self):
        class Plain(Keep):
            def step(self, x: int) -> int:
                return x

        assert list(describe(Plain).reset_schema()["properties"]) == ["seed", "episode_id"]

    def test_of_published_classes_are_described_as_far_as_possible(self):
        assert list(describe(Narrow).reset_schema()["properties"]) == ["seed", "episode_id", "difficulty"]

        class Odd(Narrow):
            def reset(self, x: Missing = None) -> Observation:  # noqa: F821
                return Observation()

        spec = describe(Odd, action_type=Go, observation_type=Observation)
        assert list(spec.reset_schema()["properties"]) == ["seed", "episode_id"]


def test_required_seed_without_one():
    class Seeded(Keep):
        def reset(self, seed: int) -> None:
            self.got = seed

        def step(self, x: int) -> int:
            return x

    assert called(Seeded, seed=4) == 4
    assert called(Seeded) is None
