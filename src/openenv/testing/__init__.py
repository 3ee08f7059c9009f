"""The contract of environments as a checker that anybody can run.

::

    from openenv.testing import assert_env, check_env

    def test_contract():
        assert_env("my_env.py")             # raises with all findings

    print(check_env(MyEnv))                 # a report
"""

from openenv.testing.check import assert_env, check_env
from openenv.testing.report import CheckFailedError, Finding, Report, Severity

__all__ = ["CheckFailedError", "Finding", "Report", "Severity", "assert_env", "check_env"]
