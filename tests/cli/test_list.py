import json
from pathlib import Path

import pytest

from openenv.cli._installed import InstalledEnvironment, installed_environments

from .conftest import Invoke


def distribution(site: Path, name: str, *lines: str) -> None:
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.2", *lines]) + "\n"
    )


def test_installed_packages_are_the_distributions_of_that_name(tmp_path: Path) -> None:
    distribution(tmp_path, "openenv-Grid_world", "Summary: A grid.")
    distribution(tmp_path, "openenv-core")
    distribution(tmp_path, "openenv")
    distribution(tmp_path, "other")
    expected = InstalledEnvironment("grid_world", "openenv-grid-world", "1.2", "A grid.")
    assert installed_environments([str(tmp_path)]) == [expected]


def test_list_as_table_and_as_json(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    distribution(tmp_path / "site", "openenv-maze", "Summary: Find the exit.")
    monkeypatch.syspath_prepend(tmp_path / "site")
    result = invoke("list")
    assert result.exit_code == 0
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert rows[0] == ["TARGET", "FROM", "DESCRIPTION"]
    assert ["echo", "shipped"] in [row[:2] for row in rows]
    assert ["maze", "openenv-maze", "1.2  Find the exit."] in rows
    document = json.loads(invoke("list", "--json").stdout)
    assert document["schema_version"] == 1
    assert "echo" in [item["name"] for item in document["shipped"]]
    assert [item["name"] for item in document["installed"]] == ["maze"]
