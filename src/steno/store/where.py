"""The language that chooses runs: `config.lr < 1e-3 and val/acc.max > 0.9 and "baseline" in tags`.

    query      = either
    either     = both {"or" both}
    both       = negation {"and" negation}
    negation   = "not" negation | "(" either ")" | comparison
    comparison = value [("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") value]
    value      = NAME | NUMBER | TEXT | "true" | "false" | "[" [literal {"," literal}] "]"

A name without a comparison must be true. What is missing, and NaN, compares false with everything, `!=` too.
Types are never coerced: a text is never equal to a number, nor true to 1; integers and floats are one type.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING: Final[Any] = object()
"""What a run does not have."""
_LONGEST: Final = 10_000
_DEEPEST: Final = 100
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | `(?P<quoted>[^`]+)`
      | (?P<name>[^\W\d][\w./]*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS: Final = frozenset({"and", "or", "not", "in", "true", "false", "True", "False"})
_ESCAPES: Final = {"n": "\n", "t": "\t"}
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Where:
    """A query that was parsed; `names` are those it asks about."""

    text: str
    names: frozenset[str]
    matches: Callable[[Callable[[str], Any]], bool]
    """Whether a run is chosen, given what says a name's value, or MISSING."""


def parse(text: str) -> Where:
    """The query.

    Raises:
        UsageError: it is none; the message says what is wrong, and where.
    """
    if not isinstance(text, str):
        msg = f"where={text!r}: a query is a text such as 'config.lr < 1e-3'"
        raise UsageError(msg)
    parser = _Parser(text)
    test = parser.either(0)
    parser.end()
    return Where(text, frozenset(parser.names), test)


def name_of(text: str) -> str:
    """The one name that a text is, without its backticks.

    Raises:
        UsageError: it is none, or more than a name.
    """
    query = parse(text)
    if len(query.names) != 1 or text.strip().strip("`") not in query.names:
        msg = f"{text!r}: one name such as val/acc.max is needed"
        raise UsageError(msg)
    return next(iter(query.names))


class QueryError(UsageError):
    """A query that cannot be understood; `at` is the character, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """number, text, name, word, sign or end."""
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        if len(text) > _LONGEST:
            raise UsageError(f"where: the query has {len(text):,} characters; shorten it to {_LONGEST:,}")
        self._tokens = self._split()
        self._next = 0

    def _split(self) -> list[_Token]:
        found, at = [], 0
        while self.text[at:].strip():
            match = _TOKEN.match(self.text, at)
            if match is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                raise self._error(_strange(self.text[at:]), at)
            group = str(match.lastgroup)
            word = match.group(group)
            is_word = group == "name" and word in _WORDS
            kind = "word" if is_word else "name" if group == "quoted" else group
            found.append(_Token(kind, word, match.start(group)))
            at = match.end()
        found.append(_Token("end", "", len(self.text.rstrip())))
        return found

    def _error(self, what: str, at: int) -> QueryError:
        before, after = self.text[:at], self.text[at:]
        place = f"{'…' if len(before) > 60 else ''}{before[-60:]}>>>{after[:60]}{'…' if len(after) > 60 else ''}"
        return QueryError(f"where: {what}, at character {at + 1}: {place}", at)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        token = self._peek()
        if token.kind in {"word", "sign"} and token.text in texts:
            self._next += 1
            return token
        return None

    def either(self, depth: int) -> Any:
        tests = [self._both(depth)]
        while self._take("or"):
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda get: any(test(get) for test in tests)

    def _both(self, depth: int) -> Any:
        tests = [self._negation(depth)]
        while self._take("and"):
            tests.append(self._negation(depth))
        return tests[0] if len(tests) == 1 else lambda get: all(test(get) for test in tests)

    def _negation(self, depth: int) -> Any:
        token = self._peek()
        if depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} levels of 'not' and parentheses", token.at)
        if self._take("not"):
            test = self._negation(depth + 1)
            return lambda get: not test(get)
        if self._take("("):
            test = self.either(depth + 1)
            if not self._take(")"):
                raise self._error("the parenthesis is not closed: ')' is expected", self._peek().at)
            return test
        return self._comparison()

    def _comparison(self) -> Any:
        left = self._value()
        sign = self._take("==", "!=", "<", "<=", ">", ">=", "in")
        is_negated = False
        if sign is None and (first := self._take("not")):
            sign = self._take("in")
            if sign is None:
                raise self._error("'in' is expected after 'not'", self._peek().at)
            is_negated = True
            sign = _Token(sign.kind, sign.text, first.at)
        if sign is None:
            return lambda get: left(get) is True
        right = self._value()
        if (again := self._peek()).text in {"==", "!=", "<", "<=", ">", ">=", "in"} and again.kind != "name":
            raise self._error("one comparison ends before the next: join them by 'and'", again.at)
        return _comparing(sign.text, left, right, is_negated=is_negated)

    def _value(self) -> Any:
        token = self._peek()
        if token.kind == "name":
            self._next += 1
            self.names.add(token.text)
            return lambda get: get(token.text)
        if token.kind == "sign" and token.text == "[":
            self._next += 1
            items = self._items()
            return lambda _: items
        value = self._literal()
        return lambda _: value

    def _items(self) -> list[Any]:
        items: list[Any] = []
        while not self._take("]"):
            if items and not self._take(","):
                raise self._error("',' or ']' is expected", self._peek().at)
            items.append(self._literal())
        return items

    def _literal(self) -> Any:
        token = self._peek()
        self._next += 1
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "text":
            return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), token.text[1:-1], flags=re.DOTALL)
        if token.kind == "word" and token.text in {"true", "false", "True", "False"}:
            return token.text in {"true", "True"}
        self._next -= 1
        what = "the query ends" if token.kind == "end" else f"{token.text!r} is no value"
        raise self._error(f"{what}: a name, a number or a quoted text is expected", token.at)

    def end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise self._error(f"'and' or 'or' is expected before {token.text!r}", token.at)


def _strange(rest: str) -> str:
    if rest[0] in "\"'`":
        return f"the quotation that begins with {rest[0]} does not end"
    if rest[0] == "=":
        return "'=' is no comparison: write '=='"
    if rest[0] in "&|":
        return f"{rest[0]!r} is not known: write 'and', 'or'"
    if rest[0] in "+-*/%":
        return f"there is no arithmetic: {rest[0]!r}; a name with such a character stands in backticks"
    if rest[0].isdigit():
        return "a number is expected; a name that begins with a digit stands in backticks"
    return f"{rest[0]!r} is not known here; a name with such a character stands in backticks"


def _number(text: str) -> float:
    # Not int(text), which refuses thousands of digits.
    return float(text) if any(char in text for char in ".eE") else int(Decimal(text))


def _comparing(sign: str, left: Any, right: Any, *, is_negated: bool) -> Any:
    def test(get: Any) -> bool:
        one, other = left(get), right(get)
        if _is_absent(one) or _is_absent(other):
            return False
        if sign == "in":
            return _is_in(one, other) != is_negated if isinstance(other, str | list | tuple) else False
        one, other = _alike(one, other)
        if sign in {"==", "!="}:
            return _equal(one, other) == (sign == "==")
        return _kind(one) == _kind(other) in {"number", "text", "moment"} and bool(_ORDER[sign](one, other))

    return test


def _is_absent(value: Any) -> bool:
    return value is MISSING or value is None or (isinstance(value, float) and math.isnan(value))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dt.datetime):
        return "moment"
    return "text" if isinstance(value, str) else "other"


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """A moment is compared with a text in ISO 8601, in local time where it names no zone."""
    if isinstance(one, dt.datetime) and isinstance(other, str):
        return one, _moment(other)
    if isinstance(other, dt.datetime) and isinstance(one, str):
        return _moment(one), other
    return one, other


def _moment(text: str) -> Any:
    try:
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return text


def _equal(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and bool(one == other)


def _is_in(one: Any, other: Any) -> bool:
    if isinstance(other, str):
        return isinstance(one, str) and one in other
    return any(_equal(one, item) for item in other)
