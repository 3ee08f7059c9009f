"""Tasks: the problem instances of an environment, in splits.

An author hands a `TaskSet` (or any `TaskProvider`) to the environment class; `reset` picks one by its
`split` and `task` options, or by the seed, and the environment finds it in ``self.episode.task``.
"""

from openenv.tasks.provider import TaskProvider, select, select_async
from openenv.tasks.task import Task
from openenv.tasks.taskset import TaskSet

__all__ = ["Task", "TaskProvider", "TaskSet", "select", "select_async"]
