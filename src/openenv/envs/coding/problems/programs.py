"""Programs that read standard input and print an answer."""

from __future__ import annotations

import random

from openenv.envs.coding.problems.making import Collection, some_ints, some_words

PROBLEMS = Collection()


def _numbers(rng: random.Random, least: int = 1, most: int = 12, low: int = -50, high: int = 50) -> str:
    return " ".join(map(str, some_ints(rng, least, most, low, high))) + "\n"


def _counted(rng: random.Random, lines: list[str]) -> str:
    return f"{len(lines)}\n" + "".join(f"{line}\n" for line in lines)


@PROBLEMS.program("train", lambda rng: [_numbers(rng) for _ in range(8)])
def sum_and_range(text: str) -> str:
    """One line of whole numbers. Print their sum, and the largest minus the smallest, on one line."""
    numbers = [int(word) for word in text.split()]
    return f"{sum(numbers)} {max(numbers) - min(numbers)}"


@PROBLEMS.program("train", lambda rng: [f"{' '.join(some_words(rng, 1, 20, 'ab'))}\n" for _ in range(8)])
def word_counts(text: str) -> str:
    """Words separated by spaces. Print each distinct word and how often it occurs, in alphabetical order."""
    words = text.split()
    return "\n".join(f"{word} {words.count(word)}" for word in sorted(set(words)))


@PROBLEMS.program("train", lambda rng: [f"{n}\n" for n in (5, 1, 2, 3, 4, 6, 7)])
def diamond(text: str) -> str:
    """A number n. Print a diamond of stars: lines of 1, 3, ... 2n-1, ... 3, 1 stars, centred.

    Lines have no spaces after their last star.
    """
    size = int(text)
    rows = [" " * (size - row) + "*" * (2 * row - 1) for row in range(1, size + 1)]
    return "\n".join(rows + rows[-2::-1])


@PROBLEMS.program(
    "test", lambda rng: [f"{rng.randint(1, 5)}\n{_numbers(rng, 5, 15, 0, 9)}" for _ in range(8)]
)
def moving_sums(text: str) -> str:
    """A number k, then a line of at least k numbers. Print the sums of each k neighbours on one line."""
    first, second = text.splitlines()
    size, numbers = int(first), [int(word) for word in second.split()]
    return " ".join(str(sum(numbers[at : at + size])) for at in range(len(numbers) - size + 1))


@PROBLEMS.program(
    "train",
    lambda rng: [
        _counted(rng, [f"{word} {rng.randint(1, 100)}" for word in some_words(rng, 1, 8)]) for _ in range(8)
    ],
)
def ranking(text: str) -> str:
    """A number n, then n lines "name points". Print the lines by points, most first, then by name."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return "\n".join(
        f"{name} {points}" for name, points in sorted(rows, key=lambda row: (-int(row[1]), row[0]))
    )


@PROBLEMS.program("train", lambda rng: [f"{rng.randint(1, 200)} {rng.randint(201, 400)}\n" for _ in range(8)])
def primes_between(text: str) -> str:
    """Two numbers a <= b. Print the prime numbers from a to b on one line, or "none"."""
    low, high = (int(word) for word in text.split())
    found = [n for n in range(max(2, low), high + 1) if all(n % d for d in range(2, int(n**0.5) + 1))]
    return " ".join(map(str, found)) or "none"


@PROBLEMS.program(
    "test",
    lambda rng: [
        _counted(
            rng,
            [
                rng.choice([f"+{rng.randint(1, 9)}", f"*{rng.randint(2, 4)}", "-", "u"])
                for _ in range(rng.randint(3, 12))
            ],
        )
        for _ in range(8)
    ],
)
def undo_machine(text: str) -> str:
    """A number n, then n commands on a value that starts at 0. Print the value at the end.

    +k adds k, *k multiplies by k, - changes the sign, u takes back the last command that is not yet taken
    back (nothing happens if there is none).
    """
    values = [0]
    for command in text.split()[1:]:
        if command == "u":
            values = values[:-1] or values
        elif command == "-":
            values.append(-values[-1])
        else:
            number = int(command[1:])
            values.append(values[-1] + number if command[0] == "+" else values[-1] * number)
    return str(values[-1])


@PROBLEMS.program(
    "train",
    lambda rng: [
        "11:59 PM\n",
        "12:00 AM\n",
        *(f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d} {rng.choice(['AM', 'PM'])}\n" for _ in range(8)),
    ],
)
def clock(text: str) -> str:
    """A time such as "1:05 PM". Print it in the 24-hour form 13:05, with two digits each."""
    time, half = text.split()
    hour, minute = time.split(":")
    return f"{int(hour) % 12 + (12 if half == 'PM' else 0):02d}:{minute}"


@PROBLEMS.program(
    "train",
    lambda rng: [
        _counted(rng, [_numbers(rng, 3, 3, 0, 9).strip() for _ in range(rng.randint(1, 4))]) for _ in range(8)
    ],
)
def column_sums(text: str) -> str:
    """A number n, then n lines of three numbers. Print the sums of the three columns on one line."""
    rows = [[int(word) for word in line.split()] for line in text.splitlines()[1:]]
    return " ".join(str(sum(column)) for column in zip(*rows, strict=True))


@PROBLEMS.program(
    "test", lambda rng: [f"{rng.randint(1, 30)}\n{_numbers(rng, 1, 8, 1, 12)}" for _ in range(10)]
)
def subset_count(text: str) -> str:
    """A total, then a line of positive numbers. Print how many sets of places have numbers of that sum."""
    first, second = text.splitlines()
    total = int(first)
    ways = [1] + [0] * total
    for number in map(int, second.split()):
        for reached in range(total, number - 1, -1):
            ways[reached] += ways[reached - number]
    return str(ways[total])


@PROBLEMS.program(
    "train",
    lambda rng: [
        _counted(
            rng, [f"{rng.choice(['in', 'out'])} {rng.randint(1, 50)}" for _ in range(rng.randint(2, 10))]
        )
        for _ in range(8)
    ],
)
def account(text: str) -> str:
    """A number n, then n lines "in x" or "out x". Print the balance, and how many "out" were refused.

    The balance starts at 0; an "out" that would make it negative is refused and changes nothing.
    """
    balance = refused = 0
    for line in text.splitlines()[1:]:
        way, amount = line.split()
        if way == "in":
            balance += int(amount)
        elif int(amount) <= balance:
            balance -= int(amount)
        else:
            refused += 1
    return f"{balance} {refused}"


@PROBLEMS.program(
    "test",
    lambda rng: [f"{rng.randint(0, 10**6)}\n" for _ in range(4)] + ["0\n", "19\n", "700\n", "100000\n"],
)
def spelled(text: str) -> str:
    """A number below 1000000000. Print its decimal digits as English words, separated by hyphens."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return "-".join(names[int(digit)] for digit in str(int(text)))


@PROBLEMS.program(
    "train",
    lambda rng: [
        f"{rng.choice('NESW')}\n{''.join(rng.choice('LRF') for _ in range(rng.randint(3, 20)))}\n"
        for _ in range(8)
    ],
)
def robot(text: str) -> str:
    """A direction N, E, S or W, then commands L, R (turn) and F (one step). Print x, y and the direction.

    The robot starts at 0 0; N adds 1 to y, E adds 1 to x.
    """
    facing, commands = text.split()
    x = y = 0
    way = "NESW".index(facing)
    for command in commands:
        if command == "F":
            x, y = x + (0, 1, 0, -1)[way], y + (1, 0, -1, 0)[way]
        else:
            way = (way + (1 if command == "R" else -1)) % 4
    return f"{x} {y} {'NESW'[way]}"


@PROBLEMS.program(
    "test",
    lambda rng: [
        _counted(
            rng,
            [
                f"{rng.choice('abcdef')} {rng.choice('abcdef')} {rng.randint(1, 9)}"
                for _ in range(rng.randint(2, 12))
            ],
        )
        for _ in range(10)
    ],
)
def cheapest_road(text: str) -> str:
    """A number n, then n lines "a b cost": roads both ways. Print the least cost from a to f, or "none"."""
    costs = {"a": 0}
    roads = [line.split() for line in text.splitlines()[1:]]
    for _ in roads:
        for one, other, cost in roads:
            for start, stop in ((one, other), (other, one)):
                if start in costs and costs[start] + int(cost) < costs.get(stop, 10**9):
                    costs[stop] = costs[start] + int(cost)
    return str(costs.get("f", "none"))
