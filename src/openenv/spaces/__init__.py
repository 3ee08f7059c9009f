"""Spaces of valid actions, drawn from an environment's action schema."""

from openenv.errors import SamplingError
from openenv.spaces.action_space import ActionSpace, ActionSpec
from openenv.spaces.validation import Problem, conforms, problems

__all__ = ["ActionSpace", "ActionSpec", "Problem", "SamplingError", "conforms", "problems"]
