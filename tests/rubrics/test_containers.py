"""Containers, sync and async, in and out of a running loop."""

import asyncio
import inspect
import math

import pytest

from openenv.errors import UsageError
from openenv.rubrics import Gate, Rubric, RubricDict, RubricList, Sequential, WeightedSum, score_components


class Fixed(Rubric):
    def __init__(self, score=1.0):
        super().__init__()
        self.score = score
        self.calls = 0

    def forward(self, action, observation):
        self.calls += 1
        return self.score


class Slow(Fixed):
    async def forward(self, action, observation):
        self.calls += 1
        await asyncio.sleep(0)
        return self.score


async def settled(result):
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize("kind", [Fixed, Slow])
class TestBothKinds:
    async def test_sequential_returns_the_last_score(self, kind):
        assert await settled(Sequential(Fixed(0.5), kind(0.75))(None, None)) == 0.75

    async def test_sequential_stops_at_the_first_zero(self, kind):
        last = Fixed()
        assert await settled(Sequential(Fixed(), kind(0.0), last)(None, None)) == 0.0
        assert last.calls == 0

    @pytest.mark.parametrize(("score", "expected"), [(0.4, 0.0), (0.5, 0.5), (0.9, 0.9)])
    async def test_gate_passes_scores_from_its_threshold_on(self, kind, score, expected):
        assert await settled(Gate(kind(score), threshold=0.5)(None, None)) == expected

    async def test_weighted_sum_weighs(self, kind):
        rubric = WeightedSum([kind(1.0), Fixed(0.5)], weights=[0.7, 0.3])
        assert await settled(rubric(None, None)) == pytest.approx(0.85)
        assert rubric.last_score == pytest.approx(0.85)

    async def test_only_an_async_child_makes_the_call_awaitable(self, kind):
        result = WeightedSum([Sequential(Gate(kind()))], [1.0])(None, None)
        assert inspect.isawaitable(result) == (kind is Slow)
        assert await settled(result) == 1.0


def test_an_empty_sequential_scores_one():
    assert Sequential()(None, None) == 1.0


def test_plain_functions_are_taken_wherever_rubrics_are():
    rubric = Sequential(lambda a, o: 1.0, Gate(lambda a, o: o, threshold=0.5))
    assert rubric("act", 0.75) == 0.75
    assert WeightedSum({"exact": lambda a, o: 1.0}, {"exact": 1.0})(None, None) == 1.0
    assert RubricList([lambda a, o: 0.5])[0](None, None) == 0.5


def test_something_else_is_refused_with_a_hint():
    with pytest.raises(UsageError, match=r"write Fixed\(\)"):
        Sequential(Fixed)
    with pytest.raises(UsageError, match="not a rubric"):
        Gate(0.5)


async def test_weighted_sum_runs_async_children_at_the_same_time():
    meeting = asyncio.Barrier(3)

    class Meets(Rubric):
        async def forward(self, action, observation):
            await asyncio.wait_for(meeting.wait(), 5)
            return 1.0

    assert await WeightedSum([Meets(), Meets(), Meets()], [0.5, 0.25, 0.25])(None, None) == 1.0


async def test_a_failing_async_child_stops_its_siblings():
    stopped = []

    class Endless(Rubric):
        async def forward(self, action, observation):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                stopped.append(True)
                raise
            return 1.0

    class Fails(Rubric):
        async def forward(self, action, observation):
            await asyncio.sleep(0.01)
            raise LookupError("judge is down")

    with pytest.raises(LookupError, match="judge is down"):
        await WeightedSum([Endless(), Fails()], [0.5, 0.5])(None, None)
    assert stopped == [True]


def test_a_failing_sync_child_leaves_no_coroutine_behind():
    class Fails(Rubric):
        def forward(self, action, observation):
            raise LookupError("no verdict")

    with pytest.raises(LookupError):
        WeightedSum([Slow(), Fails()], [0.5, 0.5])(None, None)


@pytest.mark.parametrize(
    ("rubrics", "weights"),
    [
        ([Fixed()], []),
        ([Fixed()], [0.5]),
        ([Fixed(), Fixed()], [0.5, math.nan]),
        ([Fixed(), Fixed()], [math.inf, -math.inf]),
        ({"a": Fixed()}, [1.0]),
        ({"a": Fixed()}, {"b": 1.0}),
        ([Fixed()], {"rubric_0": 1.0}),
    ],
)
def test_weights_are_checked(rubrics, weights):
    with pytest.raises(ValueError, match="weights"):
        WeightedSum(rubrics, weights)


def test_weights_are_a_copy_in_the_order_of_the_rubrics():
    rubric = WeightedSum({"a": Fixed(), "b": Fixed()}, {"b": 0.25, "a": 0.75})
    rubric.weights.clear()
    assert rubric.weights == [0.75, 0.25]


def test_a_gate_needs_a_finite_threshold():
    with pytest.raises(ValueError, match="threshold"):
        Gate(Fixed(), threshold=math.nan)


def test_children_of_a_mapping_keep_their_names_even_awkward_ones():
    rubric = WeightedSum({"forward": Fixed(0.5), "correct": Fixed(1.0)}, {"forward": 0.5, "correct": 0.5})
    assert rubric(None, None) == 0.75
    assert rubric.correct is rubric.get_rubric("correct")
    assert rubric.get_rubric("forward").last_score == 0.5


def test_rubric_list_is_a_list_of_children():
    members = [Fixed(0.1), Fixed(0.2)]
    rubrics = RubricList(members)
    rubrics.extend([last := Fixed(0.3)])
    assert list(rubrics) == [*members, last]
    assert len(rubrics) == 3
    assert rubrics[2] is last
    assert [name for name, _ in rubrics.named_children()] == ["rubric_0", "rubric_1", "rubric_2"]
    assert rubrics.rubric_1 is members[1]


def test_rubric_dict_is_a_dict_of_children():
    rubrics = RubricDict({"pong": Fixed(0.1)})
    rubrics["values"] = Fixed(0.2)
    rubrics.update({"breakout": Fixed(0.3)})
    assert list(rubrics) == list(rubrics.keys()) == ["pong", "values", "breakout"]
    assert [rubric.score for rubric in rubrics.values()] == [0.1, 0.2, 0.3]
    assert dict(rubrics.items())["breakout"] is rubrics["breakout"]
    assert "pong" in rubrics
    assert "doom" not in rubrics
    assert len(rubrics) == 3
    assert rubrics.pong is rubrics["pong"]


@pytest.mark.parametrize("group", [RubricList([Fixed()]), RubricDict({"a": Fixed()})])
def test_a_group_has_no_score_of_its_own(group):
    with pytest.raises(NotImplementedError, match="parent"):
        group(None, None)


def test_a_subclassed_group_may_score():
    class Best(RubricList):
        def forward(self, action, observation):
            return max(rubric(action, observation) for rubric in self)

    tree = Gate(Best([Fixed(0.5), Fixed(0.75)]), threshold=0.1)
    assert tree(None, None) == 0.75
    assert score_components(tree) == {"rubric": 0.75, "rubric.rubric_0": 0.5, "rubric.rubric_1": 0.75}
