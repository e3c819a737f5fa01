"""How many keys a nested list becomes, and what to say when they are many."""

from __future__ import annotations

from typing import Any, Final

from steno.journal.format import LIST_MAX, LIST_SUMMARY

_MANY: Final = 100
_NUMBERS: Final = (float, int, bool)
_DEEPEST: Final = 8


def remark(key: str, value: Any) -> str:
    """What a person should hear of a list before it fills the run with keys; empty for one that does not."""
    if value.__class__ not in (list, tuple) or _is_flat(value) or _is_even(value):
        return ""
    count = _keys(value, 0)
    if count <= _MANY:
        return ""
    at_least = "at least " if count >= LIST_MAX else ""
    return (
        f"{key!r} is a list of lists or dicts that becomes {at_least}{count} keys, {key + '/0'!r} and so on: log rows "
        "of one length, which are taken as an array, or steno.Table"
    )


def _is_flat(items: Any) -> bool:
    return all(item.__class__ in _NUMBERS for item in items)


def _is_even(items: Any) -> bool:
    """Whether it is rows of numbers of one length, at any depth."""
    first = items[0] if items else None
    if first.__class__ not in (list, tuple):
        return _is_flat(items)
    return all(item.__class__ in (list, tuple) and len(item) == len(first) and _is_even(item) for item in items)


def _keys(value: Any, depth: int) -> int:
    if value.__class__ in (list, tuple):
        if _is_flat(value):
            return len(value) if len(value) <= LIST_SUMMARY else 4
        values: Any = value
    elif value.__class__ is dict:
        values = value.values()
    else:
        return 1
    count = 0
    for item in values:
        count += _keys(item, depth + 1) if depth < _DEEPEST else 1
        if count >= LIST_MAX:
            break
    return count
