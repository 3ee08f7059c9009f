"""What `openenv init` writes: a one-file environment with its test, or a package in the published layout.

A template is a file below `templates/` whose name ends in `.tmpl`; `{{ word }}` in its text and `NAME` in
its path are filled in. Nothing is written unless everything can be.
"""

from openenv.scaffold.names import EnvironmentName, InvalidNameError, check_name
from openenv.scaffold.write import FilesExistError, write_one_file, write_package

__all__ = [
    "EnvironmentName",
    "FilesExistError",
    "InvalidNameError",
    "check_name",
    "write_one_file",
    "write_package",
]
