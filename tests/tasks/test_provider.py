"""Choosing a task from any provider, sync or async."""

import asyncio

import pytest

from openenv.errors import TaskNotFoundError, UsageError
from openenv.tasks import TaskProvider, TaskSet, select, select_async


class Published:
    """The published form: an environment with the methods, splits described by dicts."""

    def list_splits(self):
        return [{"name": "easy", "type": "train"}, {"name": "hard", "type": "test"}]

    def list_tasks(self, split):
        return [self.get_task(split, index) for index in range(self.num_tasks(split))]

    def num_tasks(self, split):
        return 5

    def get_task(self, split, index):
        return {"id": f"{split}/{index}", "index": index, "level": split}

    def get_task_range(self, split, start=None, stop=None):
        return self.list_tasks(split)[start:stop]


class Asynchronous(Published):
    async def list_splits(self):
        await asyncio.sleep(0)
        return ["train"]

    async def list_tasks(self, split):
        return [await self.get_task(split, index) for index in range(5)]

    async def num_tasks(self, split):
        return 5

    async def get_task(self, split, index):
        return {"id": f"{split}/{index}"}


def test_the_protocol_is_structural():
    assert isinstance(Published(), TaskProvider)
    assert not isinstance(object(), TaskProvider)


def test_a_task_set_chooses_itself():
    tasks = TaskSet([{"n": 1, "answer": 2}])
    assert select(tasks, seed=0).answer == 2


def test_the_first_split_is_the_default_and_the_seed_draws():
    drawn = {select(Published(), seed=seed).id for seed in range(30)}
    assert drawn == {f"easy/{index}" for index in range(5)}


def test_split_and_place_or_id_choose():
    assert select(Published(), seed=0, split="hard", index=3).inputs["level"] == "hard"
    assert select(Published(), seed=0, split="hard", index="hard/2").index == 2


@pytest.mark.parametrize("choice", [{"split": "none"}, {"index": 5}, {"index": "none"}])
def test_what_is_not_there_is_a_typed_error(choice):
    with pytest.raises(TaskNotFoundError):
        select(Published(), seed=0, **choice)


async def test_an_async_provider_is_awaited():
    assert (await select_async(Asynchronous(), seed=0, index=3)).id == "train/3"
    assert (await select_async(Asynchronous(), seed=0, index="train/1")).index == 1
    assert (await select_async(Published(), seed=0, index=3)).id == "easy/3"


def test_an_async_provider_cannot_be_asked_from_sync_code():
    with pytest.raises(UsageError, match="select_async"):
        select(Asynchronous(), seed=0)


def test_splits_may_be_objects_with_a_name():
    class Split:
        name = "dev"

    class Objects(Published):
        def list_splits(self):
            return [Split()]

    assert select(Objects(), seed=0).split == "dev"


def test_a_provider_without_splits_is_a_mistake():
    class Empty(Published):
        def list_splits(self):
            return []

    with pytest.raises(UsageError, match="no splits"):
        select(Empty(), seed=0)
