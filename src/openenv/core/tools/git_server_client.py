"""Not part of this version; importing it says so."""

from openenv.core._later import refuse

refuse("openenv.core.tools.git_server_client", "call git in a subprocess from your environment")
