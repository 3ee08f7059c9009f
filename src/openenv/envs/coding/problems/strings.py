"""Functions of texts."""

from __future__ import annotations

from openenv.envs.coding.problems.making import Collection, some_text, some_words

PROBLEMS = Collection()


@PROBLEMS.function(
    "train", lambda rng: [("",), ("aaab",), *((some_text(rng, 1, 20, "ab"),) for _ in range(10))]
)
def run_lengths(text: str) -> list[tuple[str, int]]:
    """Return each run of equal characters as a pair of the character and its length."""
    runs: list[tuple[str, int]] = []
    for letter in text:
        if runs and runs[-1][0] == letter:
            runs[-1] = (letter, runs[-1][1] + 1)
        else:
            runs.append((letter, 1))
    return runs


@PROBLEMS.function(
    "train",
    lambda rng: [
        ("xyz", 3),
        ("Hello, World!", 13),
        *((some_text(rng, 3, 15, "aAzZmM ,!"), rng.randint(-30, 30)) for _ in range(10)),
    ],
)
def shifted(text: str, by: int) -> str:
    """Shift each ASCII letter by so many places in the alphabet, around its end; keep case and the rest."""
    result = ""
    for letter in text:
        if "a" <= letter <= "z":
            letter = chr((ord(letter) - 97 + by) % 26 + 97)
        elif "A" <= letter <= "Z":
            letter = chr((ord(letter) - 65 + by) % 26 + 65)
        result += letter
    return result


@PROBLEMS.function(
    "train",
    lambda rng: [
        ("()[]",),
        ("([)]",),
        ("",),
        *((some_text(rng, 2, 8, "()[]"),) for _ in range(6)),
        *(("(" * n + "[]" + ")" * n,) for n in range(1, 5)),
    ],
)
def first_unbalanced(text: str) -> int:
    """Return the place of the first bracket that closes wrongly; the length if some stay open; else -1.

    Brackets are ( ) [ ]; other characters do not count.
    """
    pairs = {")": "(", "]": "["}
    opened = []
    for place, letter in enumerate(text):
        if letter in "([":
            opened.append(letter)
        elif letter in pairs and (not opened or opened.pop() != pairs[letter]):
            return place
    return len(text) if opened else -1


@PROBLEMS.function(
    "test",
    lambda rng: [
        ("", "abc"),
        ("kitten", "sitting"),
        *((some_text(rng, 0, 9), some_text(rng, 0, 9)) for _ in range(10)),
    ],
)
def edit_distance(one: str, other: str) -> int:
    """Return the fewest insertions, removals and replacements of single characters between two texts."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        before, row[0] = row[0], place
        for column, wanted in enumerate(other, 1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (letter != wanted)),
            )
    return row[-1]


@PROBLEMS.function(
    "train", lambda rng: [("abcba",), ("",), *((some_text(rng, 1, 12, "abc"),) for _ in range(10))]
)
def longest_palindrome(text: str) -> str:
    """Return the longest part that reads the same backwards; of several the one that begins first."""
    best = ""
    for start in range(len(text)):
        for stop in range(len(text), start + len(best), -1):
            part = text[start:stop]
            if part == part[::-1]:
                best = part
                break
    return best


@PROBLEMS.function(
    "train",
    lambda rng: [
        ("helloWorldAgain",),
        ("x",),
        ("HTTPServer",),
        *((some_text(rng, 3, 12, "abcDEF"),) for _ in range(8)),
    ],
)
def snake_case(name: str) -> str:
    """Return the name in lower case, with an underscore before each capital except at the start."""
    return "".join(
        f"_{letter.lower()}" if letter.isupper() and place else letter.lower()
        for place, letter in enumerate(name)
    )


@PROBLEMS.function(
    "test",
    lambda rng: [
        ([],),
        (["flow", "flower", "flight"],),
        *(([("ab" * rng.randint(0, 2)) + word for word in some_words(rng, 1, 4)],) for _ in range(9)),
    ],
)
def common_prefix(words: list[str]) -> str:
    """Return the longest text with which all words begin; the empty text if there are no words."""
    prefix = words[0] if words else ""
    for word in words:
        while not word.startswith(prefix):
            prefix = prefix[:-1]
    return prefix


@PROBLEMS.function(
    "train", lambda rng: [("a-b c",), ("",), *((some_text(rng, 5, 25, "ab cd-"),) for _ in range(9))]
)
def word_order(text: str) -> str:
    """Reverse the order of the words, which are separated by white space; single spaces come out."""
    return " ".join(reversed(text.split()))


@PROBLEMS.function(
    "train",
    lambda rng: [
        ("1.2", "1.10"),
        ("1.0", "1"),
        *(
            (
                ".".join(str(rng.randint(0, 3)) for _ in range(rng.randint(1, 4))),
                ".".join(str(rng.randint(0, 3)) for _ in range(rng.randint(1, 4))),
            )
            for _ in range(12)
        ),
    ],
)
def compare_versions(one: str, other: str) -> int:
    """Compare versions such as 1.10.2: -1, 0 or 1; missing parts count as 0."""
    left, right = ([int(part) for part in version.split(".")] for version in (one, other))
    size = max(len(left), len(right))
    left += [0] * (size - len(left))
    right += [0] * (size - len(right))
    return (left > right) - (left < right)
