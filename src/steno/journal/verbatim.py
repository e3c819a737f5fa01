"""One record's values as they were logged: types kept, arrays whole; what in-process destinations are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from steno.journal import format as fmt
from steno.journal.decode import HOLE
from steno.journal.flatten import _media, _text, array_of
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ABSENT = object()


def as_logged(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by key in the order of the call, the keys of nested dicts joined by "/".

    Ints, bools, texts and None are what they were; an array is a numpy array of its own memory, a media value a
    `Ref`, and what is still on a device is HOLE. What could not be recorded is left out; in a list it is None.
    """
    out: dict[str, Any] = {}
    _collect(values, "", out)
    return out


def _collect(values: Mapping[Any, Any], prefix: str, out: dict[str, Any]) -> None:
    for key, value in values.items():
        path = f"{prefix}{_text(key)}"
        if path == fmt.RESERVED:
            continue
        if value.__class__ is dict:
            _collect(value, f"{path}/", out)
        else:
            plain = _plain(value)
            if plain is not _ABSENT:
                out[path] = plain


def holes_in(logged: Mapping[str, Any]) -> set[str]:
    """The keys of what is still on a device, as the late values will have them."""
    out: set[str] = set()
    for key, value in logged.items():
        if value is HOLE:
            out.add(key)
        elif value.__class__ is list:
            out |= holes_in({f"{key}/{index}": item for index, item in enumerate(value)})
    return out


def fill(logged: dict[str, Any], late: Mapping[str, Any]) -> None:
    """Put late values in their places."""
    for key, value in late.items():
        parent, _, index = key.rpartition("/")
        items = logged.get(parent)
        if key not in logged and items.__class__ is list and index.isdecimal() and int(index) < len(items):
            items[int(index)] = value
        else:
            logged[key] = value


def without_holes(logged: Mapping[str, Any]) -> dict[str, Any]:
    """What is there of the values; in a list, None stands for what is not."""
    return {
        key: [None if item is HOLE else item for item in value] if value.__class__ is list else value
        for key, value in logged.items()
        if value is not HOLE
    }


def media_in(values: Any) -> Iterator[Ref]:
    """The media values among what `as_logged` gave, also those in lists."""
    for value in values.values() if values.__class__ is dict else values:
        if value.__class__ is Ref:
            yield value
        elif value.__class__ in (dict, list):
            yield from media_in(value)


def _plain(value: Any) -> Any:
    kind = value.__class__
    if kind is list:
        items = [_plain(item) for item in value]
        return [None if item is _ABSENT else item for item in items]
    if kind is dict:
        return as_logged(value)
    if kind is not msgspec.msgpack.Ext:
        return value
    if value.code == fmt.EXT_HOLE:
        return HOLE
    data = bytes(value.data)
    try:
        if value.code == fmt.EXT_BIG:
            return int(data)
        if value.code == fmt.EXT_ARRAY:
            return array_of(data)[0].copy()
        if value.code == fmt.EXT_MEDIA:
            return _media(msgspec.msgpack.decode(data))
    except Exception:
        pass  # the flattening of the same value says why
    return _ABSENT
