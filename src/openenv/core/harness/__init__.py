"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.harness", "drive episodes with openenv.make or openenv.connect")
