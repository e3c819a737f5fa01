"""Any value as plain data that JSON and msgpack hold: configurations, summaries, events."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import os
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from steno.secrecy import mask
from steno.utf8 import brief, escaped, text_of_any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH: Final = 32
_INTEGERS: Final = range(-(2**63), 2**64)
"""What msgpack holds; the seeds of torch and numpy are as large."""
_LONGEST: Final = 100_000
"""Elements of a sequence; a longer one, say a `range`, is kept as text."""
TANGLED_AT: Final = (0, 4)
"""Levels at which it is looked whether going on has an end: an object of a kind of its own may begin another tangle."""
_PARTS: Final = 100_000
_ITEMS: Final = 1 << 20
"""A million numbers in rows that are one object, `[[0.0] * 1000] * 1000`, are an array like another."""
_PLAIN: Final = frozenset({float, int, str, bool, bytes, type(None)})
_TEXT_CHARS: Final = 1000
_DIGITS: Final = 1 << 16
"""More than Python writes of an integer: one that is cut would be another number."""
_ARRAY_SIZE: Final = 1024
_ON_DEVICES: Final = frozenset({"torch", "jax", "jaxlib"})


def written(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is written down: plain values, secrets masked."""
    return {escaped(key): mask(key, plain(value)) for key, value in values.items()}


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON and msgpack hold it; what they cannot hold becomes text. NaN stays NaN."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, str):
        return escaped(str.__str__(value))
    if isinstance(value, int):
        return number if (number := int(value)) in _INTEGERS else brief(number, _DIGITS)
    if isinstance(value, float):
        return float(value)
    if depth > _DEPTH:
        return _text(value)
    if depth in TANGLED_AT and is_tangled(value):
        return f"<{type(value).__name__}>"
    try:
        return _structured(value, depth)
    except Exception:
        return _text(value)


def _structured(value: Any, depth: int) -> Any:
    if isinstance(value, os.PathLike):
        return escaped(os.fsdecode(value))
    found = fields(value)
    if found is not None:
        return {text_of_any(key): plain(item, depth + 1) for key, item in found}
    if isinstance(value, AbstractSet):
        return sorted((plain(item, depth + 1) for item in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview) and len(value) <= _LONGEST:
        return [plain(item, depth + 1) for item in value]
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and hasattr(value, "tolist") and getattr(value, "size", 0) <= _ARRAY_SIZE:
        return plain(value.tolist(), depth + 1)
    if module in _ON_DEVICES:
        return _of_device(value, depth)
    if hasattr(value, "isoformat"):
        return escaped(str(value.isoformat()))
    if isinstance(value, dt.timedelta):
        return str(value)
    if type(value).__name__ in {"Decimal", "Fraction"}:
        return float(value)
    if callable(value) and isinstance(name := getattr(value, "__qualname__", None), str):
        # Without its address, which is another one in each process.
        return escaped(f"{value.__module__}.{name}")
    return _text(value)


def is_tangled(value: Any, levels: int = _DEPTH) -> bool:
    """Whether it unfolds into many times what it holds, as what holds itself twice: to go through it has no end."""
    level = {id(value): (value, 1)}
    parts = parts_held = items = items_held = 0
    try:
        for _ in range(levels):
            below: dict[int, tuple[Any, int]] = {}
            for one, times in level.values():
                size, containers = _contents(one)
                items += times * size
                items_held += size
                for item in containers:
                    below[id(item)] = (item, times + below.get(id(item), (item, 0))[1])
            parts_held += len(below)
            parts += sum(times for _, times in below.values())
            if parts > max(_PARTS, 2 * parts_held) or items > max(_ITEMS, 2 * items_held):
                return True
            if not below:
                break
            level = below
    except Exception:
        return False  # whoever goes through it meets the same
    return False


def _contents(value: Any) -> tuple[int, list[Any]]:
    """How many items it has, and those that have items."""
    items: Any = value
    if isinstance(value, Mapping):
        items = value.values()
    elif not isinstance(value, list | tuple | AbstractSet):
        found = fields(value)
        items = () if found is None else [item for _, item in found]
    if _PLAIN.issuperset(map(type, items)):
        return len(items), []
    return len(items), [
        item
        for item in items
        if not isinstance(item, str | bytes | int | float)
        and (isinstance(item, list | tuple | Mapping | AbstractSet) or fields(item) is not None)
    ]


def fields(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """Names and values of what has such: a mapping, a dataclass, a pydantic model, a namespace, a named tuple, …

    None for anything else. Their libraries are not imported.
    """
    kind = type(value)
    if isinstance(value, Mapping):
        return _items(value)
    if isinstance(value, type):
        return None
    names: Any = None
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif callable(getattr(kind, "model_dump", None)):  # pydantic
        return iter(dict(value.model_dump()).items())
    elif hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):  # pydantic 1
        return iter(dict(value.dict()).items())
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "__struct_fields__"):  # msgspec
        names = kind.__struct_fields__
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    elif kind.__name__ in {"Namespace", "SimpleNamespace"}:
        names = list(vars(value))
    return None if names is None else ((name, getattr(value, name, None)) for name in names)


def _items(value: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """A mapping's items; an item that cannot be read costs its neighbours nothing."""
    unread: Any = None
    for key in list(value):
        try:
            item = value[key]
        except Exception:
            # OmegaConf's missing value, or an interpolation that leads nowhere: as it stands in the file.
            unread = _unresolved(value) if unread is None else unread
            item = unread.get(key, "<unreadable>")
        yield key, item


def _unresolved(value: Any) -> dict[Any, Any]:
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and omegaconf.OmegaConf.is_config(value):
        return dict(omegaconf.OmegaConf.to_container(value, resolve=False))
    return {}


def _of_device(value: Any, depth: int) -> Any:
    """A number or a small array of torch's or JAX's; text for what is larger, or would have to be waited for."""
    ready = getattr(value, "is_ready", None)
    if getattr(value, "is_cuda", False) or (ready is not None and not ready()):
        return f"<{type(value).__name__} on a device>"
    size = value.numel() if hasattr(value, "numel") else getattr(value, "size", 0)
    if size == 1:
        return plain(value.item(), depth + 1)
    return plain(value.tolist(), depth + 1) if 1 < size <= _ARRAY_SIZE else _text(value)


def _text(value: Any) -> str:
    return brief(value, _TEXT_CHARS)
