"""One record's nested values to points: keys joined by "/", arrays as their mode says."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.histograms import count, equal_edges
from steno.journal import format as fmt
from steno.journal.decode import HOLE
from steno.journal.format import LIST_MAX, LIST_SUMMARY
from steno.record import RAW, Ref

if TYPE_CHECKING:
    import numpy as np

HISTOGRAM_BINS: Final = 64
MODES: Final = ("summary", "list", "histogram")

_decode: Final = msgspec.msgpack.decode


class Flattener:
    """Collects the points of one record; `refused` says what could not become one.

    Args:
        arrays: the mode for arrays and lists that do not carry their own.

    """

    __slots__ = ("arrays", "keys", "refused", "values")

    def __init__(self, arrays: str = "summary") -> None:
        self.arrays = arrays
        self.keys: list[str] = []
        self.values: list[Any] = []
        self.refused: dict[str, str] = {}

    def add(self, key: str, value: Any) -> None:
        """Add one value, however nested; never raises for a bad one."""
        kind = value.__class__
        if kind is float or kind is int:
            self.keys.append(key)
            self.values.append(value)
        elif kind is bool:
            self.keys.append(key)
            self.values.append(1.0 if value else 0.0)
        elif kind is dict:
            if not value:
                self.refused[key] = "an empty dict has no values"
            for name, inner in value.items():
                self.add(f"{key}/{_text(name)}", inner)
        elif kind is str:
            self.keys.append(key)
            self.values.append(value)
        elif kind is msgspec.msgpack.Ext or kind is list:
            self._guarded(key, value)
        elif value is None:
            self.refused[key] = "None has no value"
        elif isinstance(value, dt.datetime):
            self.keys.append(key)
            self.values.append(value.isoformat())
        else:
            self.refused[key] = f"{kind.__name__} cannot be recorded"

    def _guarded(self, key: str, value: Any) -> None:
        """Add an array, a list or a media value: whatever goes wrong costs this value alone."""
        before = len(self.values)
        try:
            self._list(key, value) if value.__class__ is list else self._extension(key, value)
        except Exception as error:
            del self.keys[before:], self.values[before:]
            self.refused[key] = f"the value cannot be read: {error!r}"

    def _extension(self, key: str, value: msgspec.msgpack.Ext) -> None:
        code, data = value.code, bytes(value.data)
        if code == fmt.EXT_HOLE:
            self.keys.append(key)
            self.values.append(HOLE)
        elif code == fmt.EXT_BIG:
            self.keys.append(key)
            self.values.append(int(data))
        elif code == fmt.EXT_ARRAY:
            array, mode = array_of(data)
            self._array(key, array, mode or self.arrays)
        elif code == fmt.EXT_MEDIA:
            self.keys.append(key)
            self.values.append(_media(_decode(data)))
        elif code == fmt.EXT_LOST:
            self.refused[key] = data.decode("utf-8", "replace")
        else:
            self.refused[key] = f"extension {code} is not known to this version"

    def _list(self, key: str, items: list[Any]) -> None:
        import numpy as np

        if not items:
            self.refused[key] = "an empty list has no values"
            return
        if all(item.__class__ in (float, int, bool) for item in items):
            self._array(key, np.asarray(items, object if len(items) <= LIST_SUMMARY else None), self.arrays)
            return
        even = None if self.arrays == "list" else _even(items)
        if even is not None and even.size > LIST_SUMMARY:
            self._array(key, even, self.arrays)
            return
        limit = len(self.values) + LIST_MAX
        for index, item in enumerate(items):
            if len(self.values) >= limit:
                self.refused[key] = f"only the first {index} of {len(items)} elements are kept"
                return
            self.add(f"{key}/{index}", item)

    def _array(self, key: str, array: Any, mode: str) -> None:
        flat = array.reshape(-1)
        if flat.size == 0:
            self.refused[key] = "an empty array has no values"
        elif flat.size == 1:
            self.add(key, _number(flat[0].item() if hasattr(flat[0], "item") else flat[0]))
        elif mode == "list" or (mode == "summary" and flat.size <= LIST_SUMMARY):
            for index, item in enumerate(flat[:LIST_MAX].tolist()):
                self.add(f"{key}/{index}", _number(item))
            if flat.size > LIST_MAX:
                self.refused[key] = f"only the first {LIST_MAX} of {flat.size} elements are kept"
        elif mode == "histogram":
            self.keys.append(key)
            self.values.append(histogram(_seen(flat)))
        else:
            self.keys += [f"{key}/min", f"{key}/mean", f"{key}/max", f"{key}/std"]
            self.values += summary(_seen(flat))


def _even(items: list[Any]) -> np.ndarray[Any, Any] | None:
    """Rows of numbers of one length, at any depth, as an array; None for any other list."""
    import numpy as np

    first = items[0]
    if first.__class__ is not list or not all(item.__class__ is list and len(item) == len(first) for item in items):
        return None
    try:
        found = np.array(items)
    except ValueError:
        return None
    return found if found.dtype.kind in "biuf" else None


def _number(item: Any) -> Any:
    """An element; NaN for one that a mask hides."""
    return math.nan if item is None else item


def _seen(flat: Any) -> Any:
    """The elements that a mask leaves."""
    return flat.compressed() if hasattr(flat, "compressed") else flat


def array_of(data: bytes) -> tuple[np.ndarray[Any, Any], str | None]:
    """A journalled array, masked where a mask came with it, and the mode it was logged with."""
    import numpy as np

    dtype, shape, raw, mode, *mask = _decode(data)
    array = np.frombuffer(raw, np.dtype(dtype)).reshape(shape)
    if mask:
        bits = np.unpackbits(np.frombuffer(mask[0], np.uint8), count=array.size)
        array = np.ma.masked_array(array, bits.reshape(shape).astype(bool))
    return array, mode


def _media(message: dict[str, Any]) -> Ref:
    """A media value as captured: its bytes are still where `meta["raw"]` says, and it has no digest.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: it has not the form that readers and the posting rely on.
    """
    _require_media(message)
    meta = dict(message.get("meta") or {})
    for name in (RAW, "attached"):
        if name in message:
            meta[name] = message[name]
    return Ref("", str(message["kind"]), meta)


def _require_media(message: Any) -> None:
    meta, raw, attached = message.get("meta") or {}, message.get(RAW), message.get("attached", {})
    if not (isinstance(message["kind"], str) and isinstance(meta, dict) and isinstance(attached, dict)):
        raise TypeError("a media value has no kind, or its parts are no mappings")
    if not all(isinstance(name, str) and name not in {RAW, "attached"} for name in meta):
        raise ValueError("a media value has facts of names that are the journal's own")
    if message["kind"] == "text" and raw is None and not isinstance(meta.get("text"), str):
        raise ValueError("a text has no text")
    if raw is not None and not isinstance(raw.get("data"), bytes):
        at, size = raw["at"], raw["size"]
        if not (isinstance(raw["file"], str) and at.__class__ is size.__class__ is int):
            raise ValueError("a media value does not say where its bytes lie")
    for name, one in attached.items():
        if not isinstance(name, str) or RAW not in one:
            raise ValueError("what is attached to a media value has no bytes")
        _require_media(one)


def summary(array: np.ndarray[Any, Any]) -> list[float]:
    """[min, mean, max, std] of all elements in float64; NaN where an element is NaN, or there is none."""
    import numpy as np

    values = array.astype(np.float64, copy=False)
    if not values.size:
        return [math.nan] * 4
    with np.errstate(all="ignore"):
        return [float(values.min()), float(values.mean()), float(values.max()), float(values.std())]


def histogram(array: np.ndarray[Any, Any], bins: int = HISTOGRAM_BINS) -> Ref:
    """The finite elements in equal bins, kept inline; `outside` counts the others."""
    import numpy as np

    values = array.astype(np.float64, copy=False)
    finite = values[np.isfinite(values)]
    with np.errstate(all="ignore"):
        edges = equal_edges(float(finite.min()), float(finite.max()), bins) if finite.size else np.array([0.0, 1.0])
        counts = count(finite, edges, equal=True)
        meta = {
            "counts": counts.tolist(),
            "edges": [float(edge) for edge in edges],
            "outside": int(values.size - finite.size),
            "min": float(finite.min()) if finite.size else math.nan,
            "max": float(finite.max()) if finite.size else math.nan,
            "sum": float(finite.sum()),
            "sum_squares": float(np.square(finite).sum()),
        }
    return Ref("", "histogram", meta)


def _text(key: Any) -> str:
    if key.__class__ is str:
        return str(key)
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return json.dumps(key) if isinstance(key, bool | float) else str(key)
