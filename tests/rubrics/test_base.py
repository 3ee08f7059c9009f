"""The Rubric itself: calling, hooks, the tree, checks of the score."""

import asyncio
import copy
import inspect
import math
import pickle

import numpy as np
import pytest

from openenv.errors import EnvironmentFailedError, RubricError
from openenv.rubrics import Rubric, Sequential, WeightedSum, as_rubric


class Fixed(Rubric):
    def __init__(self, score=1.0):
        super().__init__()
        self.score = score

    def forward(self, action, observation):
        return self.score


class Slow(Fixed):
    async def forward(self, action, observation):
        await asyncio.sleep(0)
        return self.score


class Parent(Rubric):
    def __init__(self, child):
        super().__init__()
        self.inner = child

    def forward(self, action, observation):
        return self.inner(action, observation)


def test_a_call_returns_the_score_and_remembers_it():
    rubric = Fixed(0.5)
    assert rubric.last_score is None
    assert rubric("act", "obs") == 0.5
    assert rubric.last_score == 0.5


async def test_a_sync_rubric_returns_a_number_inside_a_running_loop():
    assert Parent(Fixed(0.25))("act", "obs") == 0.25


async def test_an_async_forward_makes_the_call_awaitable_all_the_way_up():
    rubric = Parent(Parent(Slow(0.5)))
    call = rubric("act", "obs")
    assert inspect.iscoroutine(call)
    assert await call == 0.5
    assert rubric.inner.inner.last_score == 0.5


async def test_an_async_failure_reaches_the_awaiting_caller():
    class Broken(Rubric):
        async def forward(self, action, observation):
            await asyncio.sleep(0)
            raise LookupError("no verdict")

    with pytest.raises(LookupError, match="no verdict"):
        await Parent(Broken())("act", "obs")


async def test_cancelling_an_async_call_cancels_its_forward():
    class Endless(Rubric):
        stopped = False

        async def forward(self, action, observation):
            try:
                await asyncio.sleep(60)
            finally:
                self.stopped = True
            return 0.0

    rubric = Endless()
    task = asyncio.ensure_future(rubric("act", "obs"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rubric.stopped


def test_hooks_run_around_forward_in_order():
    seen = []

    class Noting(Fixed):
        def forward(self, action, observation):
            seen.append("forward")
            return self.score

    rubric = Noting(0.5)
    rubric.register_forward_pre_hook(lambda r, a, o: seen.append(("pre", r is rubric, a, o)))
    rubric.register_forward_hook(lambda r, a, o, score: seen.append(("post", r.last_score, a, o, score)))
    rubric("act", "obs")
    assert seen == [("pre", True, "act", "obs"), "forward", ("post", 0.5, "act", "obs", 0.5)]


async def test_async_hooks_are_awaited():
    seen = []

    async def before(rubric, action, observation):
        await asyncio.sleep(0)
        seen.append("before")

    async def after(rubric, action, observation, score):
        await asyncio.sleep(0)
        seen.append(score)

    rubric = Fixed(0.5)
    rubric.register_forward_pre_hook(before)
    rubric.register_forward_hook(after)
    assert await rubric("act", "obs") == 0.5
    assert seen == ["before", 0.5]


def test_attributes_register_replace_and_remove_children():
    parent, other = Parent(first := Fixed()), Fixed()
    assert list(parent.named_children()) == [("inner", first)]
    parent.inner = other
    assert list(parent.children()) == [other]
    parent.inner = None
    assert list(parent.children()) == []
    parent.inner = other
    del parent.inner
    assert list(parent.children()) == []


def test_children_may_be_assigned_before_super_init():
    class Early(Rubric):
        def __init__(self):
            self.part = Fixed(0.5)
            super().__init__()

        def forward(self, action, observation):
            return self.part(action, observation)

    class Without(Rubric):
        def __init__(self):
            self.part = Fixed(0.5)

        def forward(self, action, observation):
            return self.part(action, observation)

    for rubric in (Early(), Without()):
        assert rubric(None, None) == 0.5
        assert [name for name, _ in rubric.named_rubrics()] == ["part"]


def test_descendants_have_dotted_paths():
    tree = Parent(Parent(Fixed()))
    assert [path for path, _ in tree.named_rubrics()] == ["inner", "inner.inner"]
    assert [path for path, _ in tree.named_rubrics("root")] == ["root.inner", "root.inner.inner"]
    assert list(tree.rubrics()) == [tree.inner, tree.inner.inner]
    assert tree.get_rubric("inner.inner") is tree.inner.inner
    with pytest.raises(KeyError, match=r"inner\.other.*inner\.inner"):
        tree.get_rubric("inner.other")


@pytest.mark.parametrize("score", [True, 1, 0.5, np.float32(0.5), np.int64(2), np.array(0.5)])
def test_every_kind_of_finite_number_is_a_score(score):
    result = Fixed(score)(None, None)
    assert result == score
    assert isinstance(result, (bool, int, float))
    assert not isinstance(result, np.generic)


@pytest.mark.parametrize(
    "score", [None, "1.0", math.nan, math.inf, 1j, [1.0], np.array([1.0]), np.float64("nan")]
)
def test_anything_else_is_a_typed_error(score):
    with pytest.raises(RubricError, match=r"^rubric \(Fixed\) scored "):
        Fixed(score)(None, None)


def test_the_error_names_the_path_from_the_rubric_that_was_called():
    tree = WeightedSum({"style": Fixed(), "tests": Parent(Fixed(math.nan))}, {"style": 0.5, "tests": 0.5})
    with pytest.raises(RubricError, match=r"rubric 'tests\.inner' \(Fixed\) scored nan") as caught:
        tree(None, None)
    assert caught.value.rubric == "tests.inner"
    assert isinstance(caught.value, EnvironmentFailedError)
    assert caught.value.message == str(caught.value)


async def test_the_error_names_the_path_of_an_async_rubric_too():
    with pytest.raises(RubricError, match="did it forget to return") as caught:
        await Sequential(Fixed(), Parent(Slow(None)))(None, None)
    assert caught.value.rubric == "rubric_1.inner"


def test_a_rubric_error_of_the_authors_own_is_left_alone():
    class Own(Rubric):
        def forward(self, action, observation):
            raise RubricError("judge is down")

    with pytest.raises(RubricError, match=r"^judge is down$"):
        Parent(Own())(None, None)


def test_reset_forgets_the_whole_tree():
    tree = Parent(Parent(Fixed()))
    tree(None, None)
    tree.reset()
    assert [rubric.last_score for rubric in (tree, *tree.rubrics())] == [None, None, None]


def test_state_dict_gathers_the_childrens_state_and_gives_it_back():
    class Threshold(Fixed):
        def state_dict(self):
            return {"score": self.score}

        def load_state_dict(self, state):
            self.score = state["score"]

    tree = Parent(Parent(Threshold(0.5)))
    assert tree.state_dict() == {"inner.inner.score": 0.5}
    tree.load_state_dict({"inner.inner.score": 0.25, "unknown": 1})
    assert tree(None, None) == 0.25
    assert Fixed().state_dict() == {}


def test_a_copy_shares_nothing_with_its_original():
    original = WeightedSum([Parent(Fixed(0.5)), as_rubric(lambda a, o: 1.0)], [0.5, 0.5])
    original(None, None)
    twin = copy.deepcopy(original)
    twin.get_rubric("rubric_0.inner").score = 0.0
    assert twin(None, None) == 0.5
    assert original(None, None) == 0.75
    assert {id(r) for r in twin.rubrics()}.isdisjoint({id(r) for r in original.rubrics()})


def test_a_rubric_can_be_pickled():
    tree = pickle.loads(pickle.dumps(Sequential(Fixed(0.5), Fixed(0.25))))
    assert tree(None, None) == 0.25


def test_a_rubric_needs_forward():
    with pytest.raises(TypeError, match="abstract"):
        Rubric()


def test_repr_shows_the_tree():
    assert repr(Parent(Parent(Fixed()))) == "Parent(inner=Parent(inner=Fixed()))"
