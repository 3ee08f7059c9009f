"""Not part of this version; importing it says so."""

from openenv.core._later import OTHER_PROVIDERS, refuse

refuse("openenv.core.containers.runtime.modal_provider", OTHER_PROVIDERS)
