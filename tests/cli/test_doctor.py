import json

import pytest

from openenv.doctor import Diagnosis, Finding, Status

from .conftest import Invoke


def test_report_and_json_agree(invoke: Invoke) -> None:
    shown, told = invoke("doctor"), invoke("doctor", "--json")
    document = json.loads(told.stdout)
    assert shown.exit_code == told.exit_code == (0 if document["ok"] else 1)
    assert document["schema_version"] == 1
    for finding in document["findings"]:
        assert finding["name"] in shown.stdout
        assert finding.keys() == {"area", "name", "status", "detail", "fix"}


def test_something_broken_is_code_1(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finding("installation", "openenv-core 0.2.1", Status.PROBLEM, "has overwritten files", "pip ...")
    diagnosis = Diagnosis("0.11.0", "3.11", "python", "Linux", (broken,))
    monkeypatch.setattr("openenv.doctor.diagnose", lambda: diagnosis)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "fix: pip ..." in result.stdout
