"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.rubrics.llm_judge", "call your judge model from an async Rubric.forward")
