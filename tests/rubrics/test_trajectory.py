"""Scores of whole episodes and how they are shared out."""

import asyncio
import inspect
from types import SimpleNamespace

import pytest

import openenv.rubrics
from openenv.errors import UsageError
from openenv.rubrics import ExponentialDiscountingTrajectoryRubric, Rubric, TrajectoryRubric, WeightedSum


class Won(ExponentialDiscountingTrajectoryRubric):
    scored = 0

    def score_trajectory(self, trajectory):
        self.scored += 1
        return trajectory[-1][1].score


class AsyncWon(Won):
    async def score_trajectory(self, trajectory):
        await asyncio.sleep(0)
        return trajectory[-1][1].score


def seen(done=False, score=0.0):
    return SimpleNamespace(done=done, score=score)


def play(rubric, score=1.0):
    return [rubric("a", seen()), rubric("b", seen()), rubric("c", seen(done=True, score=score))]


def test_the_score_comes_with_the_last_step():
    assert play(Won(intermediate_reward=0.125)) == [0.125, 0.125, 1.0]


def test_credit_is_discounted_towards_the_start():
    rubric = Won(gamma=0.5)
    play(rubric, score=0.8)
    assert rubric.compute_step_rewards() == pytest.approx([0.2, 0.4, 0.8])
    assert rubric.scored == 1


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, [0.0, 0.0, 1.0]), (1.0, [1.0, 1.0, 1.0])])
def test_the_extremes_of_gamma(gamma, expected):
    rubric = Won(gamma=gamma)
    play(rubric)
    assert rubric.compute_step_rewards() == expected


def test_credit_of_a_running_episode_scores_what_there_is():
    rubric = Won(gamma=1.0)
    rubric("a", seen(score=0.5))
    assert rubric.compute_step_rewards() == [0.5]
    assert Won().compute_step_rewards() == []


async def test_an_async_judge_of_the_trajectory():
    rubric = AsyncWon(gamma=0.5)
    assert rubric("a", seen()) == 0.0
    with pytest.raises(TypeError, match="once the episode has ended"):
        rubric.compute_step_rewards()
    result = rubric("b", seen(done=True, score=0.5))
    assert inspect.iscoroutine(result)
    assert await result == 0.5
    assert rubric.compute_step_rewards() == [0.25, 0.5]


def test_reset_forgets_the_steps_also_inside_a_container():
    rubric = Won()
    tree = WeightedSum([rubric], [1.0])
    play(tree)
    assert len(rubric.trajectory) == 3
    tree.reset()
    assert rubric.trajectory == []
    assert rubric.compute_step_rewards() == []


def test_the_trajectory_is_a_copy():
    rubric = Won()
    rubric("a", seen())
    rubric.trajectory.clear()
    assert [action for action, _ in rubric.trajectory] == ["a"]


def test_the_configuration_survives_a_checkpoint():
    tree = WeightedSum({"won": Won(gamma=0.5, intermediate_reward=0.25)}, {"won": 1.0})
    state = tree.state_dict()
    assert state == {"won.intermediate_reward": 0.25, "won.gamma": 0.5}
    other = WeightedSum({"won": Won()}, {"won": 1.0})
    other.load_state_dict(state)
    assert other.state_dict() == state


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_gamma_is_checked(gamma):
    with pytest.raises(ValueError, match="gamma"):
        Won(gamma=gamma)


def test_trajectory_rubrics_need_both_methods():
    assert issubclass(TrajectoryRubric, Rubric)
    with pytest.raises(TypeError, match="score_trajectory"):
        ExponentialDiscountingTrajectoryRubric()


def test_the_public_names_are_there_and_the_judge_is_not_yet():
    for name in openenv.rubrics.__all__:
        assert getattr(openenv.rubrics, name) is not None
    with pytest.raises(UsageError, match="LLMJudge"):
        openenv.rubrics.LLMJudge  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        openenv.rubrics.Nothing  # noqa: B018
