"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.tools.local_python_executor", "run code in a subprocess from your environment")
