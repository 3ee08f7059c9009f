"""`assert_env` and `check_env(raise_exception=True)`: findings as exceptions."""

import pytest
from tests.testing.test_check import QUICK, ids, villain

from openenv.errors import TargetError
from openenv.testing import CheckFailedError, Finding, Severity, assert_env, check_env


def test_assert_env_raises_what_was_found():
    with pytest.raises(CheckFailedError, match="finite-rewards") as caught:
        assert_env(villain("FiniteRewards"), **QUICK)
    assert isinstance(caught.value, AssertionError)
    assert ids(caught.value.report) == ["finite-rewards"]


def test_assert_env_may_allow_findings_and_may_be_strict():
    assert assert_env(villain("FiniteRewards"), allow=["finite-rewards"], **QUICK).findings == []
    assert ids(assert_env(villain("PublicSecrets"), **QUICK)) == ["public-secrets"]
    with pytest.raises(CheckFailedError, match="public-secrets"):
        assert_env(villain("PublicSecrets"), strict=True, **QUICK)


def test_check_env_may_raise():
    with pytest.raises(CheckFailedError):
        check_env(villain("Starts"), raise_on_failure=True)
    assert check_env(villain("PublicSecrets"), raise_on_failure=True, **QUICK).ok


def test_a_target_that_leads_nowhere_is_no_finding():
    with pytest.raises(TargetError):
        check_env("no_such_environment")


def test_a_finding_reads_like_a_compilers_message():
    finding = Finding("order", Severity.ERROR, "It broke.", "game.py:3", "mend it")
    assert str(finding) == "error order: It broke.\n  at game.py:3\n  fix: mend it"
    assert str(Finding("ends", Severity.NOTE, "It goes on.")) == "note ends: It goes on."
