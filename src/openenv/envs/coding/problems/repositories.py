"""Small repositories: something is wrong or missing, and the tests run the whole."""

from __future__ import annotations

import json

from openenv.envs.coding.problems.making import Collection
from openenv.envs.coding.tasks import CallCase, Problem, RunCase

PROBLEMS = Collection()
_UNITTEST = "python3 -m unittest -q"


def _text(lines: str) -> str:
    return lines.lstrip("\n")


_STORE = _text("""
import json


class Store:
    \"\"\"Numbers by name; each name remembers all values it had.\"\"\"

    def __init__(self):
        self.history = {}

    def set(self, name, value):
        self.history.setdefault(name, []).append(value)

    def get(self, name):
        return self.history[name][0]

    def undo(self, name):
        \"\"\"Forget the last value; with the only one the name. Nothing happens without the name.\"\"\"
        self.history[name].pop()

    def dump(self):
        return json.dumps({name: values[-1] for name, values in self.history.items()})
""")
_STORE_MAIN = _text("""
import sys

from store.core import Store

store = Store()
for line in sys.stdin:
    command, *words = line.split()
    if command == "set":
        store.set(words[0], int(words[1]))
    elif command == "get":
        try:
            print(store.get(words[0]))
        except KeyError:
            print("missing")
    elif command == "undo":
        store.undo(words[0])
    elif command == "dump":
        print(store.dump())
""")
_STORE_TEST = _text("""
import unittest

from store.core import Store


class StoreTest(unittest.TestCase):
    def test_the_last_value_counts(self):
        store = Store()
        store.set("a", 1)
        store.set("a", 2)
        self.assertEqual(store.get("a"), 2)
""")


def _store() -> Problem:
    fixed = (
        _STORE.replace("[name][0]", "[name][-1]")
        .replace(
            "        self.history[name].pop()\n",
            "        values = self.history.get(name, [])\n        del values[-1:]\n"
            "        if not values:\n            self.history.pop(name, None)\n",
        )
        .replace(".items()})", ".items()}, sort_keys=True)")
    )
    argv = ("python3", "-m", "store")
    return Problem(
        id="repository_store",
        kind="repository",
        prompt=(
            "The package `store` has bugs: `get` gives an old value, `undo` fails without the name "
            "and leaves empty names behind, and `dump` must sort its keys. Repair `store/core.py`. "
            "`python3 -m store` reads commands from standard input."
        ),
        submission="store/core.py",
        files={
            "store/__init__.py": "",
            "store/core.py": _STORE,
            "store/__main__.py": _STORE_MAIN,
            "test_store.py": _STORE_TEST,
        },
        test_command=_UNITTEST,
        oracle={"store/core.py": fixed},
        cases=(
            RunCase(argv, "set a 1\nset a 2\nget a\n", "2"),
            RunCase(argv, "set a 1\nset a 2\nundo a\nget a\nundo a\nget a\n", "1\nmissing"),
            RunCase(argv, "undo x\nget x\ndump\n", "missing\n{}"),
            RunCase(argv, "set b 1\nset a 5\ndump\n", '{"a": 5, "b": 1}'),
            RunCase(argv, "set b 1\nundo b\nundo b\nset b 7\nset c 1\nundo c\ndump\nget b\n", '{"b": 7}\n7'),
        ),
    )


_CALC = _text("""
#include <stdio.h>
#include <stdlib.h>

/* Greatest common divisor of two numbers, of which not both are 0. */
long gcd(long a, long b) {
    while (b != 0) {
        a = b;
        b = a % b;
    }
    return a;
}

/* Prints a fraction given as "n d" in lowest terms, the denominator positive. */
int main(void) {
    long n, d;
    while (scanf("%ld %ld", &n, &d) == 2) {
        long g = gcd(n, d);
        printf("%ld/%ld\\n", n / g, d / g);
    }
    return 0;
}
""")


def _fraction() -> Problem:
    fixed = _CALC.replace(
        "        a = b;\n        b = a % b;\n",
        "        long rest = a % b;\n        a = b;\n        b = rest;\n",
    ).replace(
        "        printf(",
        "        if (g < 0)\n            g = -g;\n        if (d < 0)\n            g = -g;\n        printf(",
    )
    pairs = ["6 4", "-6 4", "6 -4\n-6 -4", "0 5\n7 1", "1000000007 2000000014\n12 18\n17 5"]
    answers = ["3/2", "-3/2", "-3/2\n3/2", "0/1\n7/1", "1/2\n2/3\n17/5"]
    return Problem(
        id="repository_fraction_c",
        kind="repository",
        prompt=(
            "`fraction.c` reads pairs of numbers `n d` (d is not 0) and prints each as a fraction in lowest "
            "terms with a positive denominator. It hangs or prints wrong fractions: repair it. It is built "
            "with `cc -O1 -o fraction fraction.c`."
        ),
        submission="fraction.c",
        files={"fraction.c": _CALC},
        build=("cc", "-O1", "-o", "fraction", "fraction.c"),
        test_command="cc -O1 -o fraction fraction.c && echo 6 4 | ./fraction",
        oracle={"fraction.c": fixed},
        cases=tuple(
            RunCase(("./fraction",), f"{pair}\n", answer) for pair, answer in zip(pairs, answers, strict=True)
        ),
    )


_TEMPLATE = _text("""
import re


def render(template, values):
    \"\"\"Replace {name} by the value of that name; {{ and }} mean single braces.

    An unknown name raises KeyError with the name.
    \"\"\"
    return re.sub(r"{(\\w+)}", lambda match: str(values.get(match[1])), template)
""")
_TEMPLATE_FIXED = _text("""
import re


def render(template, values):
    \"\"\"Replace {name} by the value of that name; {{ and }} mean single braces.

    An unknown name raises KeyError with the name.
    \"\"\"
    return re.sub(
        r"{{|}}|{(\\w+)}",
        lambda match: str(values[match[1]]) if match[1] else match[0][0],
        template,
    )
""")
_TEMPLATE_CLI = _text("""
import json
import sys

from template import render

values = json.loads(sys.argv[1])
try:
    sys.stdout.write(render(sys.stdin.read(), values))
except KeyError as error:
    print("unknown", error.args[0])
    sys.exit(3)
""")


def _template() -> Problem:
    def command(**values: object) -> tuple[str, ...]:
        return ("python3", "cli.py", json.dumps(values))

    return Problem(
        id="repository_template",
        kind="repository",
        prompt=(
            "`render` in `template.py` does not do what its docstring says. Repair it; `cli.py` uses it and "
            "stays as it is."
        ),
        submission="template.py",
        files={"template.py": _TEMPLATE, "cli.py": _TEMPLATE_CLI},
        test_command="echo 'Hello {name}' | python3 cli.py '{\"name\": \"you\"}'",
        oracle={"template.py": _TEMPLATE_FIXED},
        cases=(
            RunCase(command(name="Ann"), "Hi {name}, {name}!", "Hi Ann, Ann!"),
            RunCase(command(a=1), "{{a}} is {a}", "{a} is 1"),
            RunCase(command(), "Hi {who}", "unknown who", exit_code=3),
            RunCase(command(x=2), "{{{x}}} }}{{ {x}", "{2} }{ 2"),
            CallCase(("a{b}c{{", {"b": None}), "aNonec{", "template:render"),
        ),
    )


_QUEUE = _text("""
class Queue:
    \"\"\"What has the smallest number comes first; of equal numbers what came first.\"\"\"

    def __init__(self):
        self.items = []

    def put(self, number, name):
        raise NotImplementedError

    def take(self):
        \"\"\"Remove and return the next name; None if there is none.\"\"\"
        raise NotImplementedError

    def drop(self, name):
        \"\"\"Remove everything of that name; return how many there were.\"\"\"
        raise NotImplementedError
""")
_QUEUE_FIXED = (
    _QUEUE.replace("        raise NotImplementedError\n", "        self.items.append((number, name))\n", 1)
    .replace(
        "        raise NotImplementedError\n",
        "        if not self.items:\n            return None\n"
        "        first = min(self.items, key=lambda item: item[0])\n"
        "        self.items.remove(first)\n        return first[1]\n",
        1,
    )
    .replace(
        "        raise NotImplementedError\n",
        "        kept = [item for item in self.items if item[1] != name]\n"
        "        dropped = len(self.items) - len(kept)\n        self.items = kept\n        return dropped\n",
        1,
    )
)
_QUEUE_PLAY = _text("""
from waiting import Queue


def play(commands):
    \"\"\"Carry out ["put", number, name], ["take"] and ["drop", name]; return what they return.\"\"\"
    queue = Queue()
    return [getattr(queue, command)(*values) for command, *values in commands]
""")


def _queue() -> Problem:
    runs = [
        [["put", 2, "b"], ["put", 1, "a"], ["take"], ["take"], ["take"]],
        [["put", 1, "x"], ["put", 1, "y"], ["put", 1, "x"], ["take"], ["take"], ["take"]],
        [["put", 3, "x"], ["put", 1, "y"], ["put", 2, "x"], ["drop", "x"], ["take"], ["take"], ["drop", "x"]],
        [["take"], ["drop", "z"], ["put", 0, "z"], ["put", -1, "w"], ["take"], ["put", 5, "q"], ["take"]],
    ]
    answers = [
        [None, None, "a", "b", None],
        [None, None, None, "x", "y", "x"],
        [None, None, None, 2, "y", None, 0],
        [None, 0, None, None, "w", None, "z"],
    ]
    return Problem(
        id="repository_queue",
        kind="repository",
        prompt="Write the class `Queue` in `waiting.py` as its docstrings say; `play.py` drives it.",
        submission="waiting.py",
        files={"waiting.py": _QUEUE, "play.py": _QUEUE_PLAY},
        test_command="python3 -c \"import play; print(play.play([['put', 1, 'a'], ['take']]))\"",
        oracle={"waiting.py": _QUEUE_FIXED},
        cases=tuple(CallCase((run,), answer, "play:play") for run, answer in zip(runs, answers, strict=True)),
    )


_REPORT = _text("""
#!/bin/sh
# Usage: report.sh FILE; prints for each word in the first column its lines and the sum of the second,
# by word, for example "tea 2 7". Empty lines and lines that begin with # do not count.
awk '{ lines[$1]++; sum[$1] += $2 } END { for (word in lines) print word, lines[word], sum[word] }' "$1"
""")


def _report() -> Problem:
    fixed = _REPORT.replace("awk '{", "awk 'NF && !/^#/ {").replace('"$1"', '"$1" | LC_ALL=C sort')
    argv = ("sh", "-c", "cat > input.txt && sh report.sh input.txt")
    return Problem(
        id="repository_report_shell",
        kind="repository",
        prompt="`report.sh` does not do what its comment says: repair it.",
        submission="report.sh",
        files={"report.sh": _REPORT},
        test_command="printf 'tea 3\\ntea 4\\n' > input.txt && sh report.sh input.txt",
        oracle={"report.sh": fixed},
        cases=(
            RunCase(argv, "tea 3\nmilk 1\ntea 4\n", "milk 1 1\ntea 2 7"),
            RunCase(argv, "# x 1\n\ntea 3\n\n", "tea 1 3"),
            RunCase(argv, "b 1\na 2\nB 3\nc 4\na 5\n#\nd 1\n", "B 1 3\na 2 7\nb 1 1\nc 1 4\nd 1 1"),
        ),
    )


_CSV = _text("""
def read_rows(text):
    \"\"\"Return the rows of comma-separated text as lists of fields.

    A field may stand in double quotes; then it may hold commas, line breaks, and quotes written twice.
    \"\"\"
    return [line.split(",") for line in text.splitlines()]
""")
_CSV_FIXED = _text("""
import csv
import io


def read_rows(text):
    \"\"\"Return the rows of comma-separated text as lists of fields.

    A field may stand in double quotes; then it may hold commas, line breaks, and quotes written twice.
    \"\"\"
    return list(csv.reader(io.StringIO(text, newline="")))
""")


def _csv() -> Problem:
    asked = {
        "a,b\n1,2\n": [["a", "b"], ["1", "2"]],
        'a,"b,c"\n': [["a", "b,c"]],
        '"x\ny",z\nw,""\n': [["x\ny", "z"], ["w", ""]],
        '"say ""hi""",1\n': [['say "hi"', "1"]],
        '"",,"""",","\n': [["", "", '"', ","]],
    }
    return Problem(
        id="repository_csv",
        kind="repository",
        prompt="`read_rows` in `table/reading.py` does not do what its docstring says: repair it.",
        submission="table/reading.py",
        files={"table/__init__.py": "", "table/reading.py": _CSV},
        test_command="python3 -c 'from table.reading import read_rows; print(read_rows(\"a,b\"))'",
        oracle={"table/reading.py": _CSV_FIXED},
        cases=tuple(CallCase((text,), rows, "table.reading:read_rows") for text, rows in asked.items()),
    )


PROBLEMS.repository("train", _store)
PROBLEMS.repository("train", _template)
PROBLEMS.repository("test", _csv)
PROBLEMS.repository("test", _report)
PROBLEMS.repository("train", _queue)
PROBLEMS.repository("test", _fraction)
