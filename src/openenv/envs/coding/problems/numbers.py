"""Functions of numbers."""

from __future__ import annotations

from openenv.envs.coding.problems.making import Collection

PROBLEMS = Collection()


@PROBLEMS.function("train", lambda rng: [(0,), (1,), (10,), *((rng.randint(2, 10**9),) for _ in range(9))])
def digit_sum(number: int) -> int:
    """Return the sum of the decimal digits of a whole number that is not negative."""
    return sum(int(digit) for digit in str(number))


@PROBLEMS.function("train", lambda rng: [(1,), (2,), (97,), *((rng.randint(2, 10**6),) for _ in range(9))])
def prime_factors(number: int) -> list[int]:
    """Return the prime factors of a number of at least 1, smallest first, each as often as it divides."""
    factors = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


@PROBLEMS.function("train", lambda rng: [(1,), (4,), *((rng.randint(1, 3999),) for _ in range(12))])
def to_roman(number: int) -> str:
    """Return a number from 1 to 3999 as a Roman numeral, with subtractive forms such as IV and XC."""
    values = [1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1]
    names = ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"]
    text = ""
    for value, name in zip(values, names, strict=True):
        count, number = divmod(number, value)
        text += name * count
    return text


@PROBLEMS.function(
    "test", lambda rng: [(0, 2), (255, 16), *((rng.randint(0, 10**6), rng.randint(2, 16)) for _ in range(10))]
)
def in_base(number: int, base: int) -> str:
    """Return a number that is not negative in a base from 2 to 16, with lower-case digits."""
    digits = ""
    while True:
        number, digit = divmod(number, base)
        digits = "0123456789abcdef"[digit] + digits
        if number == 0:
            return digits


@PROBLEMS.function("train", lambda rng: [(1,), (27,), *((rng.randint(1, 5000),) for _ in range(9))])
def collatz_length(start: int) -> int:
    """Count the steps from `start` down to 1, where even numbers are halved and odd n become 3n + 1."""
    steps = 0
    while start != 1:
        start = start // 2 if start % 2 == 0 else 3 * start + 1
        steps += 1
    return steps


@PROBLEMS.function(
    "test",
    lambda rng: [
        (3, 10, 7),
        (2, 0, 5),
        *((rng.randint(0, 10**9), rng.randint(0, 10**9), rng.randint(1, 10**6)) for _ in range(10)),
    ],
)
def power_modulo(base: int, exponent: int, modulus: int) -> int:
    """Return the remainder of base to the exponent, divided by the modulus; the exponent may be huge."""
    return pow(base, exponent, modulus)


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([1, 2, 3, 4],),
        ([5],),
        *(([rng.randint(-50, 50) for _ in range(rng.randint(1, 9))],) for _ in range(9)),
    ],
)
def middle_value(numbers: list[int]) -> float:
    """Return the median: the middle value in order, or the mean of the two middle ones."""
    ordered = sorted(numbers)
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@PROBLEMS.function(
    "train",
    lambda rng: [
        (1, []),
        (11, [1, 2, 5]),
        *((rng.randint(1, 60), sorted({rng.randint(2, 12) for _ in range(3)})) for _ in range(10)),
    ],
)
def fewest_coins(amount: int, coins: list[int]) -> int:
    """Return the fewest coins that add up to the amount, each kind as often as needed; -1 if impossible."""
    best = [0] + [amount + 1] * amount
    for total in range(1, amount + 1):
        for coin in coins:
            if coin <= total:
                best[total] = min(best[total], best[total - coin] + 1)
    return best[amount] if best[amount] <= amount else -1
