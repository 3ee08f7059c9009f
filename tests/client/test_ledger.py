"""Which calls a client's knowledge of its episode allows."""

from __future__ import annotations

from typing import Any

import pytest

from openenv.client.ledger import EpisodeLedger, Standing
from openenv.errors import (
    EnvironmentFailedError,
    OrderError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
)
from openenv.types import StepResult

CALLS = ("reset", "step", "state", "mcp")


def ledger(standing: Standing, *, strict: bool = True) -> EpisodeLedger:
    made = EpisodeLedger(strict=strict)
    made.standing = standing
    return made


@pytest.mark.parametrize(
    ("standing", "refused"),
    [
        (Standing.NEW, {}),
        (Standing.RUNNING, {}),
        (Standing.ENDED, {"step": OrderError}),
        (Standing.NEEDS_RESET, {"step": OrderError}),
        (Standing.LOST, {"step": SessionLost, "state": SessionLost, "mcp": SessionLost}),
        (Standing.CLOSED, dict.fromkeys(CALLS, OrderError)),
    ],
)
def test_admission(standing: Standing, refused: dict[str, type[Exception]]) -> None:
    for call in CALLS:
        if call in refused:
            with pytest.raises(refused[call]):
                ledger(standing).admit(call)
        else:
            ledger(standing).admit(call)


def test_a_lenient_ledger_leaves_the_end_of_the_episode_to_the_server() -> None:
    ledger(Standing.ENDED, strict=False).admit("step")


def test_results_are_completed_with_what_a_plain_server_does_not_say() -> None:
    it = EpisodeLedger()
    first: StepResult[Any] = StepResult({})
    it.began(first, seed=7, episode_id="e")
    assert (first.seed, first.episode_id, first.step) == (7, "e", 0)
    for expected in (1, 2):
        step: StepResult[Any] = StepResult({})
        it.stepped(step)
        assert (step.seed, step.episode_id, step.step) == (7, "e", expected)
    it.admit("step")
    it.stepped(StepResult({}, done=True))
    assert it.standing is Standing.ENDED


def test_what_the_server_says_wins() -> None:
    it = EpisodeLedger()
    it.began(StepResult({}, seed=1, episode_id="theirs"), seed=7, episode_id="mine")
    assert (it.seed, it.episode) == (1, "theirs")
    it.stepped(StepResult({}, step=5))
    assert it.step == 5


def test_failures_move_it_and_learn_where_they_happened() -> None:
    it = EpisodeLedger(session="s")
    it.began(StepResult({}), seed=None, episode_id="e")
    it.stepped(StepResult({}))
    for error, expected in (
        (EnvironmentFailedError("x"), Standing.RUNNING),
        (StepTimeoutError("late"), Standing.NEEDS_RESET),
        (SessionCapacityError(1, 1), Standing.LOST),
    ):
        it.failed(error)
        assert it.standing is expected
        assert (error.session, error.episode, error.step) == ("s", "e", 1)


def test_the_loss_is_told_again_and_again_until_a_new_session() -> None:
    it = EpisodeLedger()
    it.began(StepResult({}), seed=None, episode_id="e")
    it.stepped(StepResult({}))
    it.lose("the cable broke")
    for _ in range(2):
        with pytest.raises(SessionLost, match=r"at step 1: the cable broke\. reset\(\)") as caught:
            it.admit("step")
        assert (caught.value.episode, caught.value.step) == ("e", 1)
    it.reopened()
    assert it.standing is Standing.NEW
    assert (it.episode, it.step) == (None, 0)


def test_nothing_is_lost_of_what_was_closed() -> None:
    it = EpisodeLedger()
    it.closed()
    it.lose("the server hung up after our goodbye")
    assert it.standing is Standing.CLOSED


def test_a_loss_before_the_first_reset_says_so() -> None:
    it = EpisodeLedger()
    it.lose("gone")
    assert "before its first reset" in str(it.lost())


def test_an_inherited_episode_is_lost() -> None:
    old, new = EpisodeLedger(), EpisodeLedger()
    old.began(StepResult({}), seed=3, episode_id="e")
    new.inherit(old, "the loop ended")
    assert (new.standing, new.episode, new.seed) == (Standing.LOST, "e", 3)
