"""One task: what it shows and what it keeps."""

import dataclasses

import pytest
from pydantic import BaseModel

from openenv.protocol.jsonvalue import to_jsonable
from openenv.tasks import Task


@dataclasses.dataclass
class Row:
    question: str
    answer: str
    id: str | None = None


class Model(BaseModel):
    question: str
    answer: str


ITEMS = [{"question": "6*7", "answer": "42"}, Row("6*7", "42"), Model(question="6*7", answer="42")]


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_is_parted_into_inputs_and_hidden_fields(item):
    task = Task.of(item, 3, "test")
    assert task.inputs == {"question": "6*7"}
    assert task.answer == "42"
    assert (task.id, task.index, task.split) == ("test-3", 3, "test")
    assert task.public() == {"question": "6*7", "id": "test-3", "index": 3, "split": "test"}


@pytest.mark.parametrize("item", ITEMS)
def test_nothing_that_makes_json_or_text_shows_the_answer(item):
    task = Task.of(item, 0, "train")
    assert "42" not in repr(task)
    assert "42" not in str(to_jsonable({"task": task}))


def test_an_item_names_itself():
    assert Task.of({"id": 7, "q": 1}, 0, "train").id == "7"
    assert Task.of(Row("a", "b", id="row"), 0, "train").id == "row"
    assert "id" not in Task.of({"id": 7, "q": 1}, 0, "train").inputs


def test_the_author_says_what_is_hidden_and_underscores_always_are():
    task = Task.of({"q": 1, "answer": 2, "key": 3, "_seed": 4}, 0, "train", hidden=("key",))
    assert task.inputs == {"q": 1, "answer": 2}
    assert task.hidden == {"key": 3, "_seed": 4}
    assert task.answer is None


def test_fields_are_read_by_name_hidden_or_not():
    task = Task.of({"q": 1, "answer": 2}, 0, "train")
    assert (task["q"], task["answer"]) == (1, 2)
    with pytest.raises(KeyError):
        task["other"]


def test_a_plain_value_is_all_input():
    task = Task.of("say hello", 0, "train")
    assert task.inputs == "say hello"
    assert task.public() == {"inputs": "say hello", "id": "train-0", "index": 0, "split": "train"}
    with pytest.raises(KeyError):
        task["q"]


def test_an_episode_cannot_spoil_the_item_for_the_next():
    item = {"board": [[0, 0], [0, 0]], "tags": {"a"}, "answer": [1]}
    task = Task.of(item, 0, "train")
    task["board"][0][0] = 1
    task["tags"].add("b")
    task["answer"].append(2)
    again = Task.of(Task.of(item, 0, "train"), 0, "train")
    assert (again["board"], again["tags"], again["answer"]) == ([[0, 0], [0, 0]], {"a"}, [1])


def test_a_bare_task_has_no_inputs():
    assert Task("a", 0, "train").public() == {"id": "a", "index": 0, "split": "train"}
