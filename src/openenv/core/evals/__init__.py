"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.evals", "drive episodes with openenv.make or openenv.connect and score the results")
