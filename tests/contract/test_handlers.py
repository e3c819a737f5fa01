"""Each error is handled once: what swallows any error says why, and nothing is both reported and raised."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "steno"
REPORTS = {"report", "_report", "say", "_say", "_bad", "_failed", "warn", "_trouble", "complain"}


@cache
def handlers(path):
    """(the line of each handler, what it catches, the handler, its lines of source)."""
    return list(_handlers(path))


def _handlers(path):
    text = path.read_text()
    lines = text.splitlines()
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, ast.ExceptHandler):
            caught = ast.unparse(one.type) if one.type else "BaseException"
            yield one.lineno, caught, one, "\n".join(lines[one.lineno - 1 : one.body[-1].end_lineno])


def swallows(one):
    """Whether the handler does nothing with the error: it passes, goes on, or answers something plain."""
    if len(one.body) != 1:
        return False
    (only,) = one.body
    is_plain = isinstance(only, ast.Return) and not any(isinstance(part, ast.Call) for part in ast.walk(only))
    return isinstance(only, (ast.Pass, ast.Continue)) or is_plain


def test_what_swallows_any_error_says_why():
    silent = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, caught, one, text in handlers(path)
        if caught in {"Exception", "BaseException"} and swallows(one) and "#" not in text
    ]
    assert not silent, "a reason is missing in a comment: " + ", ".join(silent)


def said_and_raised(one):
    """Whether a statement list of the handler reports and then raises: the error would be said twice."""
    blocks = [
        one.body,
        *(getattr(part, "body", []) for part in ast.walk(one)),
        *(getattr(part, "orelse", []) for part in ast.walk(one)),
    ]
    for block in blocks:
        if not isinstance(block, list):
            continue
        has_reported = False
        for statement in block:
            if has_reported and any(isinstance(part, ast.Raise) for part in ast.walk(statement)):
                return True
            called = (
                statement.value.func
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
                else None
            )
            has_reported |= getattr(called, "attr", getattr(called, "id", None)) in REPORTS
    return False


def test_no_error_is_reported_and_raised():
    twice = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, _, one, _ in handlers(path)
        if said_and_raised(one)
    ]
    assert not twice, "reported and raised: " + ", ".join(twice)


def test_both_kinds_are_found(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(
        "try:\n    pass\nexcept Exception:\n    pass\n"
        "try:\n    pass\nexcept ValueError as error:\n    report('a', error)\n    if strict:\n        raise\n"
    )
    silent, twice = [one for _, _, one, _ in handlers(path)]
    assert (swallows(silent), said_and_raised(silent)) == (True, False)
    assert (swallows(twice), said_and_raised(twice)) == (False, True)
