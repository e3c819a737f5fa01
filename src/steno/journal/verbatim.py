"""One record's values as they were logged: types kept, arrays whole; what in-process destinations are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from steno.journal import format as fmt
from steno.journal.flatten import _media, _text
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ABSENT = object()


def as_logged(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Values by key in the order of the call, the keys of nested dicts joined by "/".

    Ints, bools, texts and None are what they were; an array is a numpy array of its own memory, a media value a
    `Ref`. What is still on a device, or could not be recorded, is left out; in a list it is None.
    """
    out: dict[str, Any] = {}
    _collect(values, "", out)
    return out


def _collect(values: Mapping[Any, Any], prefix: str, out: dict[str, Any]) -> None:
    for key, value in values.items():
        path = f"{prefix}{_text(key)}"
        if value.__class__ is dict:
            _collect(value, f"{path}/", out)
        else:
            plain = _plain(value)
            if plain is not _ABSENT:
                out[path] = plain


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
    data = bytes(value.data)
    if value.code == fmt.EXT_BIG:
        return int(data)
    if value.code == fmt.EXT_ARRAY:
        import numpy as np

        dtype, shape, raw, _ = msgspec.msgpack.decode(data)
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
    if value.code == fmt.EXT_MEDIA:
        return _media(msgspec.msgpack.decode(data))
    return _ABSENT
