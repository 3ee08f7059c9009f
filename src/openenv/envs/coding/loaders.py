"""Problems from a local file of JSON lines, in the common forms of published task sets.

Function tests that are code are read, not run: each `assert` becomes a question and its answer, so that the
answer stays out of the sandbox. An assertion of another form is refused by name rather than guessed at.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openenv.envs.coding.tasks import CallCase, Problem, RunCase
from openenv.errors import ProblemFormatError, UsageError


def load_problems(
    path: str | os.PathLike[str], *, skip_unreadable: bool = False, time_limit_s: float = 10.0
) -> list[Problem]:
    """Read problems; each line says by its fields which form it has.

    - ``prompt, entry_point, test[, canonical_solution, task_id]``: a `check(candidate)` of assertions;
    - ``text or prompt, test_list[, code, task_id]``: assertions that name the function;
    - ``question or prompt, input_output or (inputs, outputs)[, solutions]``: standard input and output, or
      calls if a ``fn_name`` is given.

    Args:
        path: the file.
        skip_unreadable: leave out lines that cannot become a problem, instead of failing.
        time_limit_s: seconds for one test.

    Raises:
        ProblemFormatError: a line has another form, or an assertion that cannot be read.
        OSError: the file cannot be read.
    """
    found = []
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            found.append(_problem(json.loads(text), f"{Path(path).stem}-{number}", time_limit_s))
        except (ValueError, SyntaxError, TypeError, UsageError, RecursionError) as error:
            if not skip_unreadable:
                raise ProblemFormatError(
                    f"{path}, line {number}: {error}", path=str(path), line=number
                ) from error
    return found


def _problem(item: Any, name: str, time_limit_s: float) -> Problem:
    if not isinstance(item, dict):
        raise UsageError(f"expected an object, got {type(item).__name__}")
    facts = {"id": str(item.get("task_id", item.get("id", name))), "time_limit_s": time_limit_s}
    if "entry_point" in item and "test" in item:
        return _checked(item, facts)
    if "test_list" in item:
        return _listed(item, facts)
    if "input_output" in item or "inputs" in item:
        return _input_output(item, facts)
    raise UsageError(
        "expected the fields entry_point and test, or test_list, or input_output, or inputs and outputs"
    )


def _checked(item: dict[str, Any], facts: dict[str, Any]) -> Problem:
    entry, prompt = _text(item, "entry_point"), _text(item, "prompt")
    right = item.get("canonical_solution")
    checks = _function_named(ast.parse(_text(item, "test")), "check")
    called = checks.args.args[0].arg if checks.args.args else "candidate"
    return Problem(
        kind="function",
        prompt=prompt,
        entry_point=entry,
        cases=tuple(_asserted(checks.body, called, entry)),
        oracle={"solution.py": prompt + right} if isinstance(right, str) else {},
        **facts,
    )


def _listed(item: dict[str, Any], facts: dict[str, Any]) -> Problem:
    tests = item["test_list"]
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise UsageError("test_list: expected a list of assertions")
    body = ast.parse("\n".join(tests)).body
    names = [_called(statement) for statement in body]
    right = item.get("code")
    prompt = _text(item, "text") if "text" in item else _text(item, "prompt")
    shown = "\n".join(tests[:1])
    return Problem(
        kind="function",
        prompt=f"{prompt}\n\nIn `solution.py`; for example:\n\n```python\n{shown}\n```",
        entry_point=names[0],
        cases=tuple(_asserted(body, names[0], names[0])),
        oracle={"solution.py": right} if isinstance(right, str) else {},
        **facts,
    )


def _input_output(item: dict[str, Any], facts: dict[str, Any]) -> Problem:
    pairs = item.get("input_output", item)
    if isinstance(pairs, str):
        pairs = json.loads(pairs)
    inputs, outputs = (pairs.get(key) for key in ("inputs", "outputs"))
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise UsageError("inputs, outputs: expected two lists of equal length")
    prompt = _text(item, "question") if "question" in item else _text(item, "prompt")
    solutions = item.get("solutions", [])
    if isinstance(solutions, str):
        solutions = json.loads(solutions) if solutions else []
    function = pairs.get("fn_name")
    file = "solution.py" if function else "main.py"
    oracle = {file: str(solutions[0])} if solutions else {}
    if function:
        target = f"solution:{function}"
        calls = tuple(CallCase(tuple(args), out, target) for args, out in zip(inputs, outputs, strict=True))
        return Problem(
            kind="function", prompt=prompt, entry_point=str(function), cases=calls, oracle=oracle, **facts
        )
    runs = tuple(
        RunCase(("python3", "main.py"), _lines(text), _lines(out))
        for text, out in zip(inputs, outputs, strict=True)
    )
    return Problem(
        kind="program",
        prompt=prompt,
        submission="main.py",
        test_command="python3 main.py",
        cases=runs,
        oracle=oracle,
        **facts,
    )


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected a text, got {type(value).__name__}")
    return value


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _function_named(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise UsageError(f"test: expected a function {name!r}")


def _asserted(body: list[ast.stmt], called: str, entry: str) -> Iterator[CallCase]:
    for statement in body:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                continue
            case ast.Assert(test=ast.Constant(value=True)):
                continue
            case ast.Assert(test=test):
                call, expected = _parts(test)
            case _:
                raise UsageError(f"test: only assertions can be read, not {_shown(statement)}")
        if not isinstance(call.func, ast.Name) or call.func.id != called or call.keywords:
            raise UsageError(f"test: expected a call of {called}, not {_shown(call)}")
        args = tuple(_value(argument) for argument in call.args)
        yield CallCase(args, expected, f"solution:{entry}")


def _parts(test: ast.expr) -> tuple[ast.Call, Any]:
    """The call in an assertion, and the value that makes it true."""
    match test:
        case ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            return call, _value(right)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[ast.Call() as call]):
            return call, _value(left)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            return call, False
        case ast.Call() as call:
            return call, True
        case ast.Compare(
            left=ast.Call(
                func=ast.Name(id="abs"), args=[ast.BinOp(left=ast.Call() as call, op=ast.Sub(), right=right)]
            ),
            ops=[ast.Lt() | ast.LtE()],
        ):
            return call, float(_value(right))
    raise UsageError(f"test: expected a call == a value, not {_shown(test)}")


def _value(node: ast.expr) -> Any:
    """A literal that has a JSON form."""
    try:
        value = ast.literal_eval(node)
        json.dumps(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"test: expected a value that has a JSON form, not {_shown(node)}") from error
    return _with_text_keys(value)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise UsageError("test: expected dictionaries whose keys are texts")
        return {key: _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value


def _called(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assert):
        call, _ = _parts(statement.test)
        if isinstance(call.func, ast.Name):
            return call.func.id
    raise UsageError(f"test_list: expected an assertion about a call, not {_shown(statement)}")


def _shown(node: ast.AST) -> str:
    return repr(ast.unparse(node)[:120])
