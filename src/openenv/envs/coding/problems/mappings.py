"""Functions of dictionaries, records and tables."""

from __future__ import annotations

from openenv.envs.coding.problems.making import Collection, some_words

PROBLEMS = Collection()


@PROBLEMS.function(
    "train", lambda rng: [(["a", "b", "a"],), ([],), *((some_words(rng, 1, 15, "ab"),) for _ in range(9))]
)
def most_frequent(words: list[str]) -> list[str]:
    """Return the distinct words, most frequent first; equally frequent ones in alphabetical order."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: (-counts[word], word))


@PROBLEMS.function(
    "train",
    lambda rng: [
        ({"a": 1},),
        ({},),
        *(({word: rng.randint(0, 3) for word in some_words(rng, 1, 8)},) for _ in range(9)),
    ],
)
def inverted(mapping: dict[str, int]) -> dict[str, list[str]]:
    """Return for each value, written as text, the sorted list of the keys that have it."""
    result: dict[str, list[str]] = {}
    for key in sorted(mapping):
        result.setdefault(str(mapping[key]), []).append(key)
    return result


@PROBLEMS.function(
    "train",
    lambda rng: [
        ({"a": 1}, {"a": 2, "b": 3}),
        ({}, {}),
        *(
            (
                {w: rng.randint(-5, 5) for w in some_words(rng, 0, 6, "ab")},
                {w: rng.randint(-5, 5) for w in some_words(rng, 0, 6, "ab")},
            )
            for _ in range(9)
        ),
    ],
)
def added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Add up two mappings key by key; leave out keys whose sum is 0."""
    sums = {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}}
    return {key: value for key, value in sums.items() if value != 0}


@PROBLEMS.function(
    "test",
    lambda rng: [
        ({"a": {"b": 1}, "c": 2},),
        ({},),
        *(
            (
                {
                    w: rng.choice([rng.randint(0, 9), {v: rng.randint(0, 9) for v in some_words(rng, 1, 3)}])
                    for w in some_words(rng, 1, 5)
                },
            )
            for _ in range(9)
        ),
    ],
)
def dotted(nested: dict[str, object]) -> dict[str, object]:
    """Flatten nested dictionaries: keys are joined with dots, other values stay."""
    flat: dict[str, object] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            for inner, deep in dotted(value).items():
                flat[f"{key}.{inner}"] = deep
        else:
            flat[key] = value
    return flat


@PROBLEMS.function(
    "train",
    lambda rng: [(["listen", "silent", "cat"],), ([],), *((some_words(rng, 1, 12),) for _ in range(9))],
)
def anagram_groups(words: list[str]) -> list[list[str]]:
    """Group words of the same letters: each group sorted, the groups in the order of their first words."""
    groups: dict[str, list[str]] = {}
    for word in sorted(words):
        groups.setdefault("".join(sorted(word)), []).append(word)
    return sorted(groups.values())


@PROBLEMS.function(
    "test",
    lambda rng: [
        ([["ann", "x", 5], ["bob", "x", 7], ["ann", "y", 1]],),
        ([],),
        *(
            (
                [
                    [rng.choice(["ann", "bob", "cy"]), rng.choice("xyz"), rng.randint(1, 9)]
                    for _ in range(rng.randint(1, 10))
                ],
            )
            for _ in range(9)
        ),
    ],
)
def pivot(rows: list[list[object]]) -> dict[str, dict[str, int]]:
    """Sum up rows [person, item, count]: for each person the total count of each item."""
    table: dict[str, dict[str, int]] = {}
    for person, item, count in rows:
        line = table.setdefault(str(person), {})
        line[str(item)] = line.get(str(item), 0) + int(str(count))
    return table
