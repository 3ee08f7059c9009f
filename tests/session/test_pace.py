from __future__ import annotations

from openenv.session.pace import MORE_PROOF, MOST_PROOF, PROOF, RARE, SLOW_S, STALL_S, TOLERANCE, Pace

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


def test_a_stall_before_the_proof_takes_it_away() -> None:
    assert not told(Pace(), *[QUICK] * (PROOF - 1), STALL, *[QUICK] * (PROOF - 1)).fast


def test_one_stall_in_many_calls_is_forgiven_and_a_second_is_not() -> None:
    pace = told(Pace(), QUICK, times=PROOF)
    assert told(pace, STALL).fast
    assert told(pace, QUICK, times=RARE).fast
    assert told(pace, STALL, QUICK).fast
    assert not told(pace, STALL).fast


def test_what_was_refused_needs_more_proof_each_time_up_to_a_bound() -> None:
    pace, needed = Pace(), PROOF
    for _ in range(4):
        assert not told(pace, QUICK, times=needed - 1).fast
        assert told(pace, QUICK).fast
        pace.refuse()
        pace.refuse()  # said twice, it counts once
        needed = min(needed * MORE_PROOF, MOST_PROOF)
        assert not pace.fast


def test_a_fast_environment_that_becomes_slow_is_found_out() -> None:
    pace = told(Pace(), QUICK, times=PROOF)
    assert told(pace, QUICK, SLOW, QUICK).fast
    assert told(pace, QUICK, times=10 * RARE).fast  # a good past does not count for ever
    assert not told(pace, SLOW, times=RARE // TOLERANCE + 1).fast
