"""Functions of lists."""

from __future__ import annotations

from openenv.envs.coding.problems.making import Collection, some_ints

PROBLEMS = Collection()


@PROBLEMS.function(
    "train", lambda rng: [([3, 1, 3, 2, 1],), ([],), *((some_ints(rng, 1, 12, 0, 6),) for _ in range(9))]
)
def first_seen(values: list[int]) -> list[int]:
    """Return the values without repetitions, in the order in which they first occur."""
    return list(dict.fromkeys(values))


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([2, 7, 11], 9),
        ([], 1),
        *((some_ints(rng, 2, 9, -9, 9), rng.randint(-6, 6)) for _ in range(10)),
    ],
)
def pair_with_sum(numbers: list[int], total: int) -> list[int]:
    """Return the places i < j of two numbers that add up to the total, smallest j first, then smallest i.

    Return the empty list if there are none.
    """
    for j in range(len(numbers)):
        for i in range(j):
            if numbers[i] + numbers[j] == total:
                return [i, j]
    return []


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([-2, 1, -3, 4, -1, 2, 1, -5, 4],),
        ([-3],),
        *((some_ints(rng, 1, 12, -9, 9),) for _ in range(9)),
    ],
)
def largest_run(numbers: list[int]) -> int:
    """Return the largest sum of a run of one or more neighbours; there is at least one number."""
    best = here = numbers[0]
    for number in numbers[1:]:
        here = max(number, here + number)
        best = max(best, here)
    return best


@PROBLEMS.function(
    "test",
    lambda rng: [
        ([[1, 4], [3, 6], [8, 9]],),
        ([],),
        *(
            ([sorted((rng.randint(0, 30), rng.randint(0, 30))) for _ in range(rng.randint(1, 7))],)
            for _ in range(9)
        ),
    ],
)
def merged(intervals: list[list[int]]) -> list[list[int]]:
    """Merge closed intervals [start, stop] that overlap or touch in a point; return them in order."""
    result: list[list[int]] = []
    for start, stop in sorted(intervals):
        if result and start <= result[-1][1]:
            result[-1][1] = max(result[-1][1], stop)
        else:
            result.append([start, stop])
    return result


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([1, 2, 3], 1),
        ([], 4),
        *((some_ints(rng, 1, 9, 0, 99), rng.randint(-12, 12)) for _ in range(9)),
    ],
)
def rotated(values: list[int], by: int) -> list[int]:
    """Rotate the list to the right by so many places; to the left if negative."""
    if not values:
        return []
    by %= len(values)
    return values[-by:] + values[:-by] if by else list(values)


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([[1, 2], [3, 4]],),
        ([],),
        *(([some_ints(rng, 3, 3, 0, 9) for _ in range(rng.randint(1, 4))],) for _ in range(8)),
    ],
)
def transposed(rows: list[list[int]]) -> list[list[int]]:
    """Exchange rows and columns of a matrix, all of whose rows are equally long."""
    return [list(column) for column in zip(*rows, strict=True)]


@PROBLEMS.function(
    "test", lambda rng: [([10, 9, 2, 5, 3, 7],), ([],), *((some_ints(rng, 1, 12, 0, 20),) for _ in range(9))]
)
def longest_rise(numbers: list[int]) -> int:
    """Return the length of the longest strictly rising subsequence; its members need not be neighbours."""
    from bisect import bisect_left

    ends: list[int] = []
    for number in numbers:
        place = bisect_left(ends, number)
        ends[place : place + 1] = [number]
    return len(ends)


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([1, [2, [3, []]]],),
        ([],),
        *(
            ([rng.randint(0, 9), [some_ints(rng, 0, 3, 0, 9), [some_ints(rng, 0, 2, 0, 9)]]],)
            for _ in range(8)
        ),
    ],
)
def flattened(nested: list[object]) -> list[object]:
    """Return the numbers in a list that holds numbers and lists of the same kind, from left to right."""
    flat: list[object] = []
    for value in nested:
        if isinstance(value, list):
            flat.extend(flattened(value))
        else:
            flat.append(value)
    return flat


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([1, 3, 2], 2),
        ([5], 1),
        *((some_ints(rng, 5, 12, -20, 20), rng.randint(1, 5)) for _ in range(9)),
    ],
)
def window_maxima(numbers: list[int], size: int) -> list[int]:
    """Return the largest number of each run of `size` neighbours, from left to right."""
    return [max(numbers[start : start + size]) for start in range(len(numbers) - size + 1)]


@PROBLEMS.function(
    "test",
    lambda rng: [
        ([0, 1, 0, 2, 1, 0, 1, 3, 2, 1, 2, 1],),
        ([],),
        *((some_ints(rng, 3, 12, 0, 6),) for _ in range(9)),
    ],
)
def trapped_water(heights: list[int]) -> int:
    """Return how much rain stays between walls of these heights, each one unit wide."""
    water = 0
    for place, height in enumerate(heights):
        level = min(max(heights[: place + 1]), max(heights[place:]))
        water += level - height
    return water
