"""Task sets: sources, splits, lookup and draws."""

import subprocess
import sys

import pytest

from openenv.errors import InvalidActionError, TaskNotFoundError, UsageError
from openenv.tasks import TaskProvider, TaskSet


def numbered(count, start=0):
    return [{"id": f"q{n}", "n": n, "answer": n * n} for n in range(start, start + count)]


def make_sum(rng, index):
    a, b = rng.randrange(100), rng.randrange(100)
    return {"question": f"{a} + {b}", "answer": a + b, "n": index}


def test_one_list_is_the_split_train():
    tasks = TaskSet(numbered(3))
    assert tasks.list_splits() == ["train"]
    assert tasks.num_tasks("train") == 3
    assert repr(tasks) == "TaskSet(train=3)"
    assert isinstance(tasks, TaskProvider)


@pytest.mark.parametrize(
    "source", [numbered(3), tuple(numbered(3)), iter(numbered(3)), (n for n in numbered(3))]
)
def test_any_iterable_is_a_source(source):
    assert [task["n"] for task in TaskSet(source).list_tasks("train")] == [0, 1, 2]


def test_a_list_may_change_later_without_changing_the_tasks():
    items = numbered(3)
    tasks = TaskSet(items)
    items.clear()
    assert tasks.num_tasks("train") == 3


def test_a_dataset_is_read_when_needed():
    class Dataset:
        read = []

        def __len__(self):
            return 10**9

        def __getitem__(self, index):
            self.read.append(index)
            return {"n": index}

    tasks = TaskSet({"test": Dataset()})
    assert tasks.get_task("test", 12)["n"] == 12
    assert Dataset.read == [12]


def test_what_leaves_the_server_has_no_answer():
    tasks = TaskSet({"train": numbered(3), "test": numbered(2, start=10)})
    assert tasks.list_tasks("test") == [
        {"n": 10, "id": "q10", "index": 0, "split": "test"},
        {"n": 11, "id": "q11", "index": 1, "split": "test"},
    ]
    assert tasks.get_task("train", 2) == {"n": 2, "id": "q2", "index": 2, "split": "train"}
    assert tasks.task("train", 2).answer == 4


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(None, None, [0, 1, 2, 3]), (1, 3, [1, 2]), (-2, None, [2, 3]), (2, 99, [2, 3]), (3, 1, [])],
)
def test_a_range_is_a_slice(start, stop, expected):
    tasks = TaskSet(numbered(4))
    assert [task["n"] for task in tasks.get_task_range("train", start, stop)] == expected


@pytest.mark.parametrize("index", [-1, 3, True, 1.0, None])
def test_a_place_that_is_none_is_an_index_error(index):
    with pytest.raises(IndexError) as caught:
        TaskSet(numbered(3)).get_task("train", index)
    assert isinstance(caught.value, InvalidActionError)
    assert caught.value.errors[0]["loc"] == ["task"]


def test_an_unknown_split_suggests_the_nearest():
    tasks = TaskSet({"train": [], "validation": []})
    with pytest.raises(TaskNotFoundError, match=r"train, validation; did you mean 'validation'\?") as caught:
        tasks.num_tasks("validaton")
    assert caught.value.errors == [
        {"type": "task_not_found", "loc": ["split"], "msg": caught.value.message, "input": "validaton"}
    ]
    with pytest.raises(TaskNotFoundError, match=r"there is train, validation$"):
        tasks.num_tasks("x")


def test_generated_tasks_depend_on_seed_split_and_place_alone():
    tasks = TaskSet(make_sum, sizes={"train": 1000, "test": 10})
    again = TaskSet(make_sum, sizes={"train": 1000, "test": 10})
    assert again.get_task("train", 500) == tasks.get_task("train", 500)
    assert len({tasks.get_task("train", index)["question"] for index in range(50)}) > 40
    assert tasks.get_task("train", 3)["question"] != tasks.get_task("test", 3)["question"]
    other = TaskSet(make_sum, sizes={"train": 1000}, seed=1)
    assert tasks.get_task("train", 3)["question"] != other.get_task("train", 3)["question"]


def test_a_large_split_lists_its_first_tasks():
    tasks = TaskSet(make_sum, sizes=10**6)
    assert len(tasks.list_tasks("train")) == 1000
    assert tasks.num_tasks("train") == 10**6


def test_splits_may_have_different_kinds_of_source():
    tasks = TaskSet({"train": make_sum, "test": numbered(2)}, sizes={"train": 5})
    assert (tasks.num_tasks("train"), tasks.num_tasks("test")) == (5, 2)


def test_fractions_deal_every_item_out_once():
    tasks = TaskSet(numbered(100), fractions={"train": 0.8, "validation": 0.1, "test": 0.1})
    assert [tasks.num_tasks(split) for split in tasks.list_splits()] == [80, 10, 10]
    seen = [task["n"] for split in tasks.list_splits() for task in tasks.list_tasks(split)]
    assert sorted(seen) == list(range(100))
    assert seen != list(range(100))
    other = TaskSet(numbered(100), fractions={"train": 0.8, "test": 0.2}, seed=1)
    assert other.list_tasks("train") != tasks.list_tasks("train")


def test_the_seed_draws_the_task_the_same_one_everywhere():
    tasks = TaskSet(numbered(1000))
    drawn = [tasks.select(seed=seed).index for seed in range(20)]
    assert drawn == [tasks.select(seed=seed).index for seed in range(20)]
    assert len(set(drawn)) > 15
    code = (
        "from openenv.tasks import TaskSet\n"
        "tasks = TaskSet([{'n': n} for n in range(1000)])\n"
        "print([tasks.select(seed=seed).index for seed in range(20)])"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(drawn)


def test_split_and_place_choose_before_the_seed_does():
    tasks = TaskSet({"easy": numbered(3), "train": numbered(3, start=3)})
    assert tasks.select(seed=0).split == "train"
    assert tasks.select(seed=0, split="easy").split == "easy"
    assert tasks.select(seed=0, index=1).id == "q4"
    assert tasks.select(seed=0, split="easy", index=1).id == "q1"
    assert TaskSet({"hard": numbered(1), "easy": numbered(1)}).select(seed=0).split == "hard"


def test_an_id_is_found_in_any_split():
    tasks = TaskSet({"train": numbered(3), "test": numbered(3, start=3)})
    assert (tasks.select(seed=0, index="q4").split, tasks.select(seed=0, index="q4").index) == ("test", 1)
    with pytest.raises(TaskNotFoundError, match="'q4' in split 'train'"):
        tasks.select(seed=0, index="q4", split="train")
    with pytest.raises(TaskNotFoundError, match=r"'nothing'$"):
        tasks.select(seed=0, index="nothing")


@pytest.mark.parametrize("name", ["train-1000", "train-01", "train-", "test-1", "train--1"])
def test_ids_of_generated_tasks_are_not_searched_for(name):
    tasks = TaskSet(make_sum, sizes=1000)
    assert tasks.select(seed=0, index="train-7").index == 7
    with pytest.raises(TaskNotFoundError):
        tasks.select(seed=0, index=name)


def test_an_empty_split_has_nothing_to_draw():
    with pytest.raises(TaskNotFoundError, match="no tasks"):
        TaskSet([]).select(seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda: TaskSet({}), "no splits"),
        (lambda: TaskSet(make_sum), "sizes="),
        (lambda: TaskSet({"train": make_sum}, sizes={"test": 1}), "sizes="),
        (lambda: TaskSet([1], sizes=1), "has its length"),
        (lambda: TaskSet("tasks.json"), "read the file"),
        (lambda: TaskSet(7), "int is no source"),
        (lambda: TaskSet({"train": [1]}, fractions={"train": 1.0}), "already has its splits"),
        (lambda: TaskSet(make_sum, fractions={"train": 1.0}), "already has its splits"),
        (lambda: TaskSet([1], fractions={"train": 0.5}), "add up to 1"),
        (lambda: TaskSet([1], fractions={}), "add up to 1"),
        (lambda: TaskSet([1], fractions={"train": 1.5, "test": -0.5}), "positive"),
    ],
)
def test_arguments_that_do_not_fit_are_explained(arguments, message):
    with pytest.raises(UsageError, match=message):
        arguments()


def test_one_hidden_field_may_be_a_string():
    assert TaskSet([{"key": 1, "k": 2}], hidden="key").get_task("train", 0)["k"] == 2
