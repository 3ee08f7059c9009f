"""docs/reference/cli.md names every command, every option and every exit code, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from openenv.cli.__main__ import Commands, app
from openenv.cli.exit_codes import ExitCode

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()


def section(name: str) -> str:
    match = re.search(rf"^## openenv {name}\b.*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert match, name
    return match[0]


def options(name: str) -> set[str]:
    group: Any = get_command(app)
    parameters = group.get_command(None, name).params
    shown = [parameter for parameter in parameters if not getattr(parameter, "hidden", False)]
    return {option for parameter in shown for option in parameter.opts if option.startswith("-")}


@pytest.mark.parametrize("name", list(Commands.table))
def test_every_option_is_on_the_page(name: str) -> None:
    prose = re.sub(r"```.*?```", "", section(name), flags=re.DOTALL)
    told = set(re.findall(r"`(--?[a-z][a-z-]*)`", prose))
    assert told == options(name)


def test_every_exit_code_is_on_the_page() -> None:
    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(row) for row in rows] == [code.value for code in ExitCode]
