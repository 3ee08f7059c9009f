from __future__ import annotations

from openenv.session.pace import MORE_PROOF, PROOF, SLOW_S, STALL_S, TOLERANCE, Pace

QUICK, SLOW, STALL = SLOW_S / 2, SLOW_S * 2, STALL_S * 2


def told(pace: Pace, *calls: float, times: int = 1) -> Pace:
    for _ in range(times):
        for seconds in calls:
            pace.record(seconds)
    return pace


def test_many_quick_calls_are_proof() -> None:
    pace = told(Pace(), QUICK, times=PROOF - 1)
    assert not pace.fast
    assert told(pace, QUICK).fast


def test_a_few_slow_calls_are_tolerated_and_more_are_not() -> None:
    few = told(Pace(), SLOW, times=PROOF // TOLERANCE)
    assert told(few, QUICK, times=PROOF).fast
    many = told(Pace(), SLOW, *[QUICK] * (TOLERANCE // 4), times=100)
    assert not many.fast


def test_a_stall_takes_all_proof_away_and_asks_for_more() -> None:
    assert not told(Pace(), *[QUICK] * (PROOF - 1), STALL, *[QUICK] * (PROOF - 1)).fast
    pace = told(Pace(), QUICK, times=PROOF)
    pace.stalled()
    assert not pace.fast
    assert not told(pace, QUICK, times=PROOF * MORE_PROOF - 1).fast
    assert told(pace, QUICK).fast


def test_a_fast_environment_that_becomes_slow_is_found_out() -> None:
    pace = told(Pace(), QUICK, times=PROOF)
    assert told(pace, QUICK, SLOW, QUICK).fast
    assert not told(pace, SLOW, times=PROOF).fast
