"""The doctor: who owns the files, what isolates, what is missing."""

import base64
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openenv import doctor
from openenv.doctor import distributions, isolation, limits
from openenv.doctor.findings import Diagnosis, Finding, Status
from openenv.doctor.report import render

OURS = {
    "openenv/__init__.py": "ours",
    "openenv/doctor/distributions.py": "ours",
    "openenv/cli/__main__.py": "our command",
    "openenv_core/__init__.py": "ours",
}


def install(site: Path, name: str, version: str, files: dict[str, str], *metadata: str) -> Path:
    """Write files and the records of a wheel, as pip does: over whatever is there."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    for path, text in files.items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}")
        lines.append(f"{Path(path).parent}/__pycache__/{Path(path).stem}.cpython-311.pyc,,")
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *metadata]
    (info / "METADATA").write_text("\n".join(head) + "\n")
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    return info


def examine(*search_path: Path, home: Path | None = None) -> dict[str, Finding]:
    path = [str(entry) for entry in search_path]
    found = distributions.installation(path, home or search_path[0].resolve() / "openenv")
    return {finding.name: finding for finding in found}


def test_a_sound_installation(tmp_path: Path) -> None:
    install(tmp_path, "openenv", "0.11.0", OURS)
    found = examine(tmp_path)
    assert list(found) == ["openenv"]
    assert found["openenv"].status is Status.OK
    assert "0.11.0" in found["openenv"].detail


@pytest.mark.parametrize(("name", "version"), [("openenv-core", "0.2.1"), ("openenv", "0.10.0")])
def test_a_foreign_distribution_that_overwrote_files(tmp_path: Path, name: str, version: str) -> None:
    install(tmp_path, "openenv", "0.11.0", OURS)
    install(tmp_path, name, version, {"openenv/__init__.py": "theirs", "openenv/cli/__main__.py": "theirs"})
    found = examine(tmp_path)
    foreign = found[f"{name} {version}"]
    assert foreign.status is Status.PROBLEM
    assert "overwritten 2 files" in foreign.detail
    assert "openenv/cli/__main__.py" in foreign.detail
    assert foreign.fix == (
        f"pip uninstall -y {name} && pip install --force-reinstall --no-deps 'openenv==0.11.0'"
    )
    assert found["openenv"].status is not Status.OK


def test_a_foreign_distribution_that_we_overwrote(tmp_path: Path) -> None:
    install(
        tmp_path, "openenv-core", "0.2.1", {"openenv/__init__.py": "theirs", "openenv/extra.py": "theirs"}
    )
    install(tmp_path, "openenv", "0.11.0", OURS)
    found = examine(tmp_path)
    assert found["openenv"].status is Status.OK
    assert found["openenv-core 0.2.1"].status is Status.WARNING
    assert "removing it may delete files of openenv" in found["openenv-core 0.2.1"].detail


def test_files_lost_to_an_uninstall(tmp_path: Path) -> None:
    install(tmp_path, "openenv", "0.11.0", OURS)
    (tmp_path / "openenv/cli/__main__.py").unlink()
    finding = examine(tmp_path)["openenv"]
    assert finding.status is Status.PROBLEM
    assert "openenv/cli/__main__.py" in finding.detail
    assert finding.fix.startswith("pip install --force-reinstall")


def test_an_edited_file_is_a_warning(tmp_path: Path) -> None:
    install(tmp_path, "openenv", "0.11.0", OURS)
    (tmp_path / "openenv/cli/__main__.py").write_text("edited")
    assert examine(tmp_path)["openenv"].status is Status.WARNING


def test_a_copy_earlier_on_the_path_is_a_problem(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "openenv-core", "0.2.1", {"openenv/__init__.py": "theirs"})
    install(second, "openenv", "0.11.0", OURS)
    found = examine(first, second, home=second.resolve() / "openenv")
    copy = found[str(first.resolve() / "openenv")]
    assert copy.status is Status.PROBLEM
    assert "is imported instead of" in copy.detail
    assert found["openenv-core 0.2.1"].fix == "pip uninstall -y openenv-core"


def test_a_copy_later_on_the_path_is_a_warning(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "openenv", "0.11.0", OURS)
    install(second, "openenv", "0.10.0", {"openenv/__init__.py": "theirs"})
    found = examine(first, second)
    assert found[str(second.resolve() / "openenv")].status is Status.WARNING


def test_an_editable_installation(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "src/openenv").mkdir(parents=True)
    (source / "src/openenv/__init__.py").write_text("")
    info = install(site, "openenv", "0.11.0", {})
    (info / "direct_url.json").write_text(
        json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    )
    home = (source / "src/openenv").resolve()
    found = examine(source / "src", site, home=home)
    assert [finding.status for finding in found.values()] == [Status.OK]
    assert "editable" in found["openenv"].detail


@pytest.mark.parametrize(
    ("direct_url", "requirement"),
    [
        ({"url": "file:///src/openenv", "dir_info": {}}, "'file:///src/openenv'"),
        (
            {"url": "https://example.org/o.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "'git+https://example.org/o.git@abc'",
        ),
    ],
)
def test_the_fix_installs_from_where_it_came(
    tmp_path: Path, direct_url: dict[str, object], requirement: str
) -> None:
    info = install(tmp_path, "openenv", "0.11.0", OURS)
    (info / "direct_url.json").write_text(json.dumps(direct_url))
    (tmp_path / "openenv/cli/__main__.py").unlink()
    assert examine(tmp_path)["openenv"].fix == f"pip install --force-reinstall --no-deps {requirement}"


def test_code_that_nobody_installed(tmp_path: Path) -> None:
    (tmp_path / "src/openenv").mkdir(parents=True)
    (tmp_path / "src/openenv/__init__.py").write_text("")
    finding = examine(tmp_path / "src")["openenv"]
    assert finding.status is Status.WARNING
    assert finding.fix == f"pip install -e {tmp_path.resolve()}"


def test_extras_say_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    install(tmp_path, "alpha", "2.1.0", {})
    install(tmp_path, "beta", "0.9", {})
    lines = ["Provides-Extra: core", "Provides-Extra: good", "Provides-Extra: old", "Provides-Extra: none"]
    lines += ["Requires-Dist: alpha>=2; extra == 'good'", 'Requires-Dist: beta[x]>=1.0,<2; extra == "old"']
    lines += [
        "Requires-Dist: gamma; (sys_platform != 'win32') and extra == 'none'",
        "Requires-Dist: pydantic",
    ]
    install(tmp_path, "openenv", "0.11.0", OURS, *lines)
    found = {finding.name: finding for finding in distributions.extras(search_path=[str(tmp_path)])}
    assert list(found) == ["good", "old", "none"]
    assert (found["good"].status, found["good"].detail) == (Status.OK, "alpha 2.1.0")
    assert found["old"].detail == "not installed: beta>=1.0,<2 (installed: 0.9)"
    assert found["none"].status is Status.ABSENT
    assert found["none"].fix == "pip install 'openenv[none]'"


def test_kernel_layers_are_probed_by_effect() -> None:
    found = {finding.name: finding for finding in isolation.kernel_layers()}
    if sys.platform == "linux":
        assert list(found) == ["user namespaces", "Landlock", "seccomp", "cgroups"]
    for finding in found.values():
        assert finding.detail
        assert (finding.status is Status.OK) != bool(finding.fix)


def script(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("echo 28.2.2", Status.OK, "daemon 28.2.2"),
        ("echo 'Cannot connect' >&2; exit 1", Status.ABSENT, "installed, does not work: Cannot connect"),
        ("exec sleep 20", Status.ABSENT, "installed, no answer within 0.3 s"),
        (None, Status.ABSENT, "not installed"),
    ],
)
def test_a_container_engine_counts_when_it_answers(
    text: str | None, status: Status, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        script(tmp_path, "docker", text)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    tool = isolation.Tool("docker", ("version",), "daemon ", "install it", "start it", seconds=0.3)
    finding = isolation.try_tool(tool)
    assert (finding.status, finding.detail) == (status, detail)
    assert bool(finding.fix) == (status is not Status.OK)


def test_a_busy_port_is_a_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finding = limits.default_port(taken.getsockname()[1])
    assert finding.status is Status.WARNING
    assert "--port 0" in finding.fix


def test_limits_are_complete() -> None:
    names = [finding.name for finding in limits.limits()]
    assert names == ["open files", "port 8000", "processors"]


def test_report_names_every_finding_and_its_fix() -> None:
    findings = (
        Finding("installation", "openenv", Status.OK, "0.11.0"),
        Finding(
            "installation",
            "openenv-core 0.2.1",
            Status.PROBLEM,
            "has overwritten 3 files",
            "pip uninstall it",
        ),
        Finding("extras", "gradio", Status.ABSENT, "not installed", "pip install gradio"),
    )
    text = render(Diagnosis("0.11.0", "3.11", "/usr/bin/python", "Linux", findings), unicode=False)
    for word in ("Installation", "Extras", "openenv-core 0.2.1", "fix: pip uninstall it", "1 problem"):
        assert word in text
    assert text.isascii()


def test_only_problems_make_it_not_ok() -> None:
    def diagnosis(status: Status) -> Diagnosis:
        return Diagnosis("1", "3", "p", "l", (Finding("limits", "x", status, "d"),))

    assert [diagnosis(status).ok for status in Status] == [True, True, True, False]


def test_the_module_runs_without_the_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "openenv.doctor", "--json"], capture_output=True, text=True, check=False
    )
    document = json.loads(run.stdout)
    assert run.returncode == (0 if document["ok"] else 1)
    assert document["schema_version"] == 1
    assert {finding["area"] for finding in document["findings"]} >= {"installation", "isolation", "limits"}


def test_the_doctor_needs_the_standard_library_only() -> None:
    folder = Path(doctor.__file__).parent
    program = (
        "import sys, types, importlib.util\n"
        "package = types.ModuleType('openenv'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['openenv'] = package\n"
        "import openenv.doctor.__main__\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('pydantic', 'typer', 'rich', 'fastapi')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder.parent)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
