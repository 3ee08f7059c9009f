"""`openenv sandbox doctor`: what it prints is what was verified."""

from __future__ import annotations

import json
import subprocess
import sys


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openenv.cli", "sandbox", "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_layer_of_the_default_is_shown() -> None:
    shown = doctor()
    assert shown.returncode == 0, shown.stderr
    assert "namespaces: tier A" in shown.stdout
    for layer in ("mount namespace", "landlock", "seccomp", "limits", "memory", "environment"):
        assert layer in shown.stdout
    assert "missing" not in shown.stdout


def test_less_than_tier_a_is_a_failure_with_the_fix() -> None:
    shown = doctor("--backend", "confined")
    assert shown.returncode == 1
    assert "tier C" in shown.stdout
    assert "To get it: allow unprivileged user namespaces" in shown.stdout


def test_the_document() -> None:
    told = json.loads(doctor("--json").stdout)
    assert told["tier"] == "A"
    (report,) = told["reports"]
    assert {layer["standing"] for layer in report["layers"]} <= {"verified", "weak"}
    assert all(layer["meaning"] for layer in report["layers"])


def test_a_backend_that_is_not_there_is_a_usage_error() -> None:
    assert doctor("--backend", "magic").returncode == 2
