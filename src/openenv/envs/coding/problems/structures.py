"""Functions of graphs, grids and small languages."""

from __future__ import annotations

import random

from openenv.envs.coding.problems.making import Collection

PROBLEMS = Collection()


def _edges(rng: random.Random, nodes: int) -> list[list[int]]:
    return [[rng.randrange(nodes), rng.randrange(nodes)] for _ in range(rng.randint(0, 2 * nodes))]


def _grid(rng: random.Random) -> list[str]:
    width = rng.randint(1, 6)
    return ["".join(rng.choice("..#") for _ in range(width)) for _ in range(rng.randint(1, 5))]


def _expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return str(rng.randint(0, 20))
    inner = f"{_expression(rng, depth - 1)} {rng.choice('+-*')} {_expression(rng, depth - 1)}"
    return f"({inner})" if rng.random() < 0.5 else inner


@PROBLEMS.function(
    "train", lambda rng: [(3, []), (1, []), *((n, _edges(rng, n)) for n in (2, 3, 4, 5, 6, 7, 8, 9))]
)
def components(nodes: int, edges: list[list[int]]) -> int:
    """Count the connected parts of an undirected graph with nodes 0 to nodes - 1."""
    leader = list(range(nodes))

    def find(node: int) -> int:
        while leader[node] != node:
            node = leader[node]
        return node

    for one, other in edges:
        leader[find(one)] = find(other)
    return sum(find(node) == node for node in range(nodes))


@PROBLEMS.function("train", lambda rng: [(["..", "#."],), (["#"],), *((_grid(rng),) for _ in range(12))])
def shortest_walk(grid: list[str]) -> int:
    """Return the fewest steps (up, down, left, right) from the top left to the bottom right; -1 if none.

    `.` is free and `#` a wall; start and goal may be walls too.
    """
    height, width = len(grid), len(grid[0])
    if "#" in (grid[0][0], grid[-1][-1]):
        return -1
    seen = {(0, 0)}
    edge = [(0, 0)]
    steps = 0
    while edge:
        if (height - 1, width - 1) in edge:
            return steps
        reached = {(y + dy, x + dx) for y, x in edge for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        edge = [
            (y, x)
            for y, x in reached
            if 0 <= y < height and 0 <= x < width and grid[y][x] == "." and (y, x) not in seen
        ]
        seen.update(edge)
        steps += 1
    return -1


@PROBLEMS.function(
    "test",
    lambda rng: [
        (3, [[0, 1], [1, 2]]),
        (2, [[0, 1], [1, 0]]),
        *((n, _edges(rng, n)[: n - 1]) for n in (2, 3, 4, 4, 5, 5, 6, 6, 7, 8)),
    ],
)
def build_order(tasks: int, needs: list[list[int]]) -> list[int]:
    """Order tasks 0 to tasks - 1 so that for each pair [a, b] a comes before b; the smallest such order.

    Of two orders the smaller has the smaller task at the first difference. Return the empty list if
    there is none.
    """
    order: list[int] = []
    while len(order) < tasks:
        ready = [
            task
            for task in range(tasks)
            if task not in order and all(a in order for a, b in needs if b == task)
        ]
        if not ready:
            return []
        order.append(ready[0])
    return order


@PROBLEMS.function(
    "train", lambda rng: [("1 + 2 * 3",), ("7",), *((_expression(rng, 3),) for _ in range(10))]
)
def calculated(text: str) -> int:
    """Calculate an expression of whole numbers, + - * and brackets; * binds more strongly."""
    tokens = text.replace("(", " ( ").replace(")", " ) ").split()
    place = 0

    def total() -> int:
        nonlocal place
        value = product()
        while place < len(tokens) and tokens[place] in "+-":
            sign = tokens[place]
            place += 1
            value = value + product() if sign == "+" else value - product()
        return value

    def product() -> int:
        nonlocal place
        value = atom()
        while place < len(tokens) and tokens[place] == "*":
            place += 1
            value *= atom()
        return value

    def atom() -> int:
        nonlocal place
        place += 1
        if tokens[place - 1] != "(":
            return int(tokens[place - 1])
        value = total()
        place += 1
        return value

    return total()


@PROBLEMS.function(
    "test", lambda rng: [(["..", ".."], 2), *((_grid(rng), rng.randint(1, 3)) for _ in range(11))]
)
def grown(grid: list[str], rounds: int) -> list[str]:
    """Play rounds of the Game of Life: # lives with two or three living neighbours of eight, . with three."""
    for _ in range(rounds):
        lines = []
        for y, line in enumerate(grid):
            text = ""
            for x, cell in enumerate(line):
                around = sum(
                    grid[b][a] == "#"
                    for b in range(max(0, y - 1), min(len(grid), y + 2))
                    for a in range(max(0, x - 1), min(len(line), x + 2))
                    if (a, b) != (x, y)
                )
                text += "#" if around == 3 or (around == 2 and cell == "#") else "."
            lines.append(text)
        grid = lines
    return grid


@PROBLEMS.function(
    "train",
    lambda rng: [
        ([["push", 2], ["push", 3], ["add"]],),
        ([["add"]],),
        *(
            (
                [
                    rng.choice(
                        [
                            ["push", rng.randint(0, 9)],
                            ["push", rng.randint(0, 9)],
                            ["add"],
                            ["mul"],
                            ["dup"],
                            ["swap"],
                        ]
                    )
                    for _ in range(rng.randint(2, 9))
                ],
            )
            for _ in range(12)
        ),
    ],
)
def stack_machine(program: list[list[object]]) -> list[object] | None:
    """Run a stack machine and return its stack; None once an instruction finds too few values.

    Instructions: ["push", n], ["add"], ["mul"] (replace the two on top by one), ["dup"], ["swap"].
    """
    stack: list[int] = []
    for name, *values in program:
        if name == "push":
            stack.append(int(str(values[0])))
            continue
        if len(stack) < (1 if name == "dup" else 2):
            return None
        top = stack.pop()
        if name == "dup":
            stack += [top, top]
        elif name == "swap":
            stack.insert(len(stack) - 1, top)
        else:
            below = stack.pop()
            stack.append(below + top if name == "add" else below * top)
    return list(stack)


@PROBLEMS.function(
    "test",
    lambda rng: [
        (2, [["get", 1]]),
        *(
            (
                rng.randint(1, 3),
                [
                    rng.choice([["get", rng.randint(0, 4)], ["put", rng.randint(0, 4), rng.randint(0, 99)]])
                    for _ in range(15)
                ],
            )
            for _ in range(10)
        ),
    ],
)
def cached_values(capacity: int, calls: list[list[object]]) -> list[object]:
    """Simulate a cache that forgets the key that was not used for longest; return what each "get" finds.

    Calls are ["put", key, value] and ["get", key]; both use the key. A missing key gives None.
    """
    cache: dict[object, object] = {}
    found = []
    for name, key, *value in calls:
        old = cache.pop(key, None)
        if name == "get":
            found.append(old)
            if old is not None:
                cache[key] = old
        else:
            if len(cache) == capacity:
                cache.pop(next(iter(cache)))
            cache[key] = value[0]
    return found
