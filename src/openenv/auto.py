"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.auto", "openenv.make takes a path, a module, a name or an address, and openenv.connect a URL")
