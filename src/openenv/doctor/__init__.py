"""What is installed, what isolates, what is missing, and the command that gets it.

The package imports the standard library only and shares no file name with published distributions, so
`python -m openenv.doctor` still answers when another distribution has overwritten the rest.
"""

from openenv.doctor.findings import Diagnosis, Finding, Status, diagnose

__all__ = ["Diagnosis", "Finding", "Status", "diagnose"]
