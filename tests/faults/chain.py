"""An environment that no lost, doubled or misdirected step leaves unnoticed.

Its observation is a hash of the episode's key and of every action so far, so that a trajectory can be
foretold and compared. Each call also writes a line to the journal that `$CHAIN_JOURNAL` names, before it
answers: what the server did is told apart from what the client heard.
"""

from __future__ import annotations

import hashlib
import os
from random import Random

from openenv import Environment, Outcome

JOURNAL = "CHAIN_JOURNAL"


class Chain(Environment):
    """Hashes what it is told."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    key: str = ""
    digest: str = ""
    count: int = 0

    def reset(self, key: str = "") -> str:
        self.key, self.count = key, 0
        self.digest = first(key)
        record(key, 0, 0)
        return self.digest

    def step(self, by: int) -> Outcome[str]:
        self.count += 1
        self.digest = following(self.digest, by)
        record(self.key, self.count, by)
        return Outcome(self.digest, reward=float(self.count))


def first(key: str) -> str:
    """The observation of a reset."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def following(digest: str, by: int) -> str:
    """The observation after one more action."""
    return hashlib.sha256(f"{digest} {by}".encode()).hexdigest()[:16]


def plan(key: str, steps: int) -> list[int]:
    """The actions of an episode."""
    random = Random(key)
    return [random.randrange(1_000_000) for _ in range(steps)]


def trajectory(key: str, actions: list[int]) -> list[str]:
    """What an episode without faults observes: after the reset, and after each action."""
    found = [first(key)]
    for by in actions:
        found.append(following(found[-1], by))
    return found


_journal: dict[str, int] = {}


def record(key: str, count: int, by: int) -> None:
    path = os.environ.get(JOURNAL)
    if path is None:
        return
    if path not in _journal:
        _journal[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_journal[path], f"{key} {count} {by}\n".encode())


def judged(text: str, steps: int) -> tuple[int, list[str]]:
    """Read a journal.

    Returns:
        How many calls it holds, and what is wrong: an episode that was begun twice, a step that was made
        twice, or one that is not of the plan.
    """
    seen: dict[str, int] = {}
    plans: dict[str, list[int]] = {}
    wrong, lines = [], text.splitlines()
    for line in lines:
        key, count, by = line.split(" ")
        expected = seen.get(key, -1) + 1
        seen[key] = int(count)
        if int(count) != expected:
            wrong.append(f"{key}: call {count} came where {expected} was due")
        elif expected > 0:
            actions = plans.setdefault(key, plan(key, steps))
            if expected > steps or actions[expected - 1] != int(by):
                wrong.append(f"{key}: step {count} was made with {by}, which is not of the plan")
    return len(lines), wrong
