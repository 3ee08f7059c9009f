"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.llm_client", "call a model with its own client library")
