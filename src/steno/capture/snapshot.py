"""Odd values to encodable ones, at the call: the slow path of `log`."""

from __future__ import annotations

import enum
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.capture.bare_media import numbers_of, stand_in
from steno.capture.exact import BY_PLAIN, Unrecordable, array, encodable, integer, is_scalar, numpy_value, real, whole
from steno.capture.plain import TANGLED_AT, fields, is_tangled
from steno.capture.raws import placed
from steno.capture.width import remark
from steno.devices import found
from steno.devices.base import LATER, Refused, Traced
from steno.errors import RecordError, UsageError, safe_repr
from steno.events.level import LogLevel
from steno.journal import format as fmt
from steno.journal import native
from steno.media.raw import Captured
from steno.utf8 import escaped

if TYPE_CHECKING:
    from steno.capture.raws import FilePosition
    from steno.devices.base import Adapter
    from steno.media.raw import Buffer

_Ext: Final = msgspec.msgpack.Ext
HOLE: Final = _Ext(fmt.EXT_HOLE, b"")
_KINDS: Final = 4096
_NUMBERS: Final = frozenset({float, int, bool})
_NESTED: Final = frozenset({dict, list, tuple})
MODES: Final = ("summary", "list", "histogram")
_ON_DEVICES: Final = frozenset({"torch", "jax", "jaxlib", "tensorflow"})
_LEVELS: Final = frozenset(int(level) for level in LogLevel)
_MAX_DEPTH: Final = 32
_STEPS: Final = range(-(2**63), 2**63)


class StepLater(Exception):  # noqa: N818 - another way to go on, not a fault
    """The step is still on a device."""


@dataclass(frozen=True, slots=True)
class PendingValue:
    """A value that stands in the record as a hole: a device still has it."""

    key: str
    adapter: Adapter
    value: Any


class _Told(Unrecordable):
    """Nothing of a value could be recorded, and all of it is reported."""


class _Tangled(Exception):  # noqa: N818 - why all of a value is left out
    """To go through the value has no end."""


class _WithTraced(list[PendingValue]):
    """Takes values that exist only while a function is compiled, as well."""


class Snapshot:
    """Makes a record's values encodable: numbers exact, arrays copied, bad ones reported and left out.

    Thread-safe; holds no value.

    Args:
        report: called with (key, what is wrong and the remedy).
        strict: raise RecordError instead.
        put: copies the raw bytes of a media value, returns where they lie; raises OSError.
    """

    __slots__ = ("_adapters", "_put", "_report", "_strict", "convert", "has_media")

    def __init__(
        self,
        report: Callable[[str, str], None],
        *,
        strict: bool = False,
        put: Callable[[Iterable[Buffer], int], FilePosition] | None = None,
    ) -> None:
        self._report = report
        self._strict = strict
        self._put = put
        self.has_media = False
        """Whether a media value was among what was prepared."""
        self._adapters: dict[type, Adapter | None] = {}
        self.convert: dict[type, Callable[[Any], Any]] = {
            float: float, int: integer, bool: bool, str: _same, list: _same, dict: _same, _Ext: _same,
            type(None): _same,
        }  # fmt: skip
        """By exact type, what makes a value encodable; numpy's, torch's and JAX's types are entered when met."""

    def _bad(self, key: str, message: str) -> None:
        if self._strict:
            raise RecordError(message)
        self._report(key, message)

    def prepare(self, data: Any, *, traced: bool = False) -> tuple[dict[str, Any], list[PendingValue]] | None:
        """The record with every value encodable, and its pending values; None when nothing is left to record.

        Raises:
            Traced: a value exists only while a function is compiled; with `traced` it is a pending value too.
        """
        if not isinstance(data, Mapping):
            self._bad("log", f"log takes a dict of metrics, not {type(data).__name__}: nothing was recorded")
            return None
        out: dict[str, Any] = {}
        pending: list[PendingValue] = _WithTraced() if traced else []
        try:
            items = list(data.items())
        except Exception as error:
            self._bad("log", f"the metrics could not be read: {safe_repr(error)}")
            return None
        for key, value in items:
            name = self._name(key)
            if name is None:
                continue
            try:
                out[name] = self.value(name, value, 0, pending)
            except Traced:
                raise
            except _Told:
                pass
            except _Tangled:
                self._bad(name, f"{name!r} was left out: it holds one thing over and over, or itself; log its numbers")
            except (Unrecordable, UsageError) as why:
                self._bad(name, f"{name!r} was left out: {why}")
            except Exception as error:
                self._bad(name, f"{name!r} was left out: reading it failed with {safe_repr(error)}")
        return (out, pending) if out else None

    def _name(self, key: Any) -> str | None:
        if isinstance(key, str):
            return escaped(str.__str__(key))
        try:
            name = escaped(str(key))
        except Exception as error:
            self._bad("log", f"a key of type {type(key).__name__} has no text: {safe_repr(error)}")
            return None
        self._bad(name, f"the key {safe_repr(key)} is not a string: it was recorded as {name!r}")
        return name

    def value(self, key: str, value: Any, depth: int, pending: list[PendingValue]) -> Any:
        """One value, encodable; a device value is a hole, and added to `pending`.

        Raises:
            Unrecordable: why not.
            Traced: it exists only while a function is compiled.
        """
        kind = value.__class__
        known = self.convert.get(kind)
        if known is not None and known is not _same:
            try:
                return known(value)
            except ValueError:
                # What else it may be, or why it cannot be recorded, is reported below.
                pass
        if kind is int:
            return integer(value)
        if kind is str:
            return escaped(value)
        if value is None:
            self._bad(key, f"{key!r} was left out: None has no value; leave the key out, or log float('nan')")
            return None  # counted where it is posted, as on the hot path
        adapter = self.adapter(kind)
        if adapter is not None:
            return self._device(key, value, adapter, pending)
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth, pending)
        if isinstance(value, (list, tuple)):
            return self._sequence(key, value, depth, pending)
        module = kind.__module__.partition(".")[0]
        if module in {"numpy", "ml_dtypes"}:
            plain = numpy_value(value)
            if plain.__class__ in BY_PLAIN and is_scalar(value) and value.itemsize <= 8:
                # An array without dimensions does not count: the next one of its type may have some.
                self.convert[kind] = BY_PLAIN[plain.__class__]
                native.meet(kind)
            return plain
        media = getattr(kind, "__steno__", None)
        if media is not None:
            return self._media(key, media(value), depth, pending)
        return self._odd(key, value, depth, pending)

    def _odd(self, key: str, value: Any, depth: int, pending: list[PendingValue]) -> Any:
        """A value of none of the types that training knows."""
        kind = value.__class__
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int):
            return integer(int(value))
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return escaped(str.__str__(value))
        if isinstance(value, bytes | bytearray | memoryview):
            msg = f"{kind.__name__} cannot be recorded as a metric; decode it to str, or log_artifact it"
            raise Unrecordable(msg)
        if isinstance(value, numbers.Number):
            number = real(value)
            if kind.__module__ in {"decimal", "fractions"} and number.__class__ is float:
                self.convert[kind] = real
            return number
        if isinstance(value, enum.Enum):
            return self.value(key, value.value, depth + 1, pending)
        if isinstance(value, os.PathLike):
            return escaped(os.fsdecode(value))
        made = stand_in(value)
        if made is not None:
            return self._media(key, made.__steno__(), depth, pending)
        if hasattr(value, "isoformat"):
            return escaped(value.isoformat())
        if kind.__module__.startswith("tensordict") and kind.__name__ == "NonTensorData":
            return self.value(key, value.data, depth + 1, pending)
        found = fields(value)
        if found is not None:
            return self._mapping(key, dict(found), depth, pending)
        if isinstance(value, AbstractSet):
            return self._sequence(key, list(value), depth, pending)
        if hasattr(value, "__array__") and kind.__module__.partition(".")[0] not in _ON_DEVICES:
            import numpy as np

            series = numbers_of(value)
            return array(np.asarray(value) if series is None else series)
        try:
            found = msgspec.to_builtins(value)  # what the hot path takes without asking, say a UUID
        except (TypeError, ValueError):
            found = value
        if found.__class__ is not kind:
            return self.value(key, found, depth + 1, pending)
        remedy = "list(x)" if isinstance(value, Iterable) else "float(x) or a dict of numbers"
        msg = f"{_describe(kind)} is not a number, string, array or dict; log {remedy}"
        raise Unrecordable(msg)

    def _media(self, key: str, made: Any, depth: int, pending: list[PendingValue]) -> Any:
        """What an object's `__steno__` returned: a media value to copy now, or anything else to log in its place."""
        if not isinstance(made, Captured):
            if depth >= _MAX_DEPTH:
                msg = "its __steno__ returns another such object, without end"
                raise Unrecordable(msg)
            return self.value(key, made, depth + 1, pending)
        if made.remark:
            self._bad(f"{key} adjusted", f"{key!r}: {made.remark}")
        if self._put is None:
            msg = f"a media value ({made.kind}) cannot be recorded here"
            raise Unrecordable(msg)
        self.has_media = True
        try:
            return placed(made, self._put)
        except OSError as error:
            msg = f"its {made.size_bytes} bytes could not be written ({error}); make room, training goes on"
            raise Unrecordable(msg) from error

    def adapter(self, kind: type) -> Adapter | None:
        """The adapter for values of an array library's type."""
        try:
            return self._adapters[kind]
        except KeyError:
            if len(self._adapters) >= _KINDS:
                self._adapters.clear()
            adapter = self._adapters[kind] = found.adapter_of(kind)
            return adapter

    def _device(self, key: str, value: Any, adapter: Adapter, pending: list[PendingValue]) -> Any:
        try:
            plain = adapter.now(value)
        except Refused as why:
            raise Unrecordable(str(why)) from None
        except Traced:
            if pending.__class__ is not _WithTraced:
                raise
            plain = LATER
        if plain is LATER:
            pending.append(PendingValue(key, adapter, value))
            return HOLE
        if plain.__class__ in _NUMBERS:
            self.convert.setdefault(value.__class__, adapter.scalar)
        return encodable(plain)

    def _mapping(self, key: str, value: Mapping[Any, Any], depth: int, pending: list[PendingValue]) -> dict[str, Any]:
        if depth >= _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} levels deep"
            raise Unrecordable(msg)
        if depth in TANGLED_AT and is_tangled(value):
            raise _Tangled
        out: dict[str, Any] = {}
        for inner, item in list(value.items()):
            name = self._name(inner)
            if name is None:
                continue
            path = f"{key}/{name}"
            try:
                out[name] = self.value(path, item, depth + 1, pending)
            except _Told:
                pass
            except (Unrecordable, UsageError) as why:
                self._bad(path, f"{path!r} was left out: {why}")
        if not out:
            if value:
                raise _Told
            msg = "it is empty"
            raise Unrecordable(msg)
        return out

    def _sequence(self, key: str, value: list[Any] | tuple[Any, ...], depth: int, pending: list[PendingValue]) -> Any:
        if not value:
            msg = "it is empty"
            raise Unrecordable(msg)
        if depth >= _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} levels deep"
            raise Unrecordable(msg)
        if depth in TANGLED_AT and is_tangled(value):
            raise _Tangled
        out = []
        for index, item in enumerate(value):
            try:
                out.append(self.value(f"{key}/{index}", item, depth + 1, pending))
            except (Unrecordable, UsageError) as why:
                if why.__class__ is not _Told:
                    self._bad(f"{key}/{index}", f"'{key}/{index}' was left out: {why}")
                out.append(_Ext(fmt.EXT_LOST, escaped(str(why)).encode()))
        return out

    def look(self, values: Mapping[str, Any]) -> None:
        """Say it of a list that fills the run with keys; called for keys that are new. Never raises."""
        for key, value in values.items():
            if value.__class__ is list or value.__class__ is tuple:
                try:
                    said = remark(key, value)
                except Exception:  # a foreign type's `len` or `in` raises; its value has been taken already
                    continue
                if said:
                    self._report(key, said)
            elif value.__class__ is dict:
                self.look({f"{key}/{name}": inner for name, inner in value.items()})

    def odd(self, values: Mapping[str, Any]) -> bool:
        """Whether something in a record has no end, and must not reach the encoder. Never raises."""
        return any(value.__class__ in _NESTED and is_tangled(value) for value in values.values())

    def options(self, level: Any, arrays: Any, commit: Any = None) -> tuple[int | None, str | None]:
        """A level and an arrays mode as they can be journalled; None, after one report, for what is none.

        `commit` is another logger's argument, which means nothing here; True is what each call does.
        """
        if commit is not None and commit is not True:
            self._bad(
                "commit",
                "log has no commit=: each call is a record of its own. Did you mean step=, by which several calls "
                "belong together? The record was kept",
            )
        if arrays is not None and not (arrays.__class__ is str and arrays in MODES):
            shown = repr(arrays[:80]) if arrays.__class__ is str else f"a {type(arrays).__name__}"
            self._bad("arrays", f"arrays={shown} is unknown: use one of {', '.join(MODES)}; the run's default was used")
            arrays = None
        if level is not None and not (level.__class__ is int and level in _LEVELS):
            try:
                level = int(LogLevel(level))
            except Exception as why:
                said = (
                    str(why)
                    if why.__class__ is ValueError
                    else f"a {type(level).__name__} is no level: {safe_repr(why)}"
                )
                self._bad("level", f"{said}. The record was kept without it")
                level = None
        return level, arrays

    def step(self, step: Any) -> int | None:
        """A step as an int; None, after one report, for what is none."""
        number: int | None = step
        if step is not None and step.__class__ is not int:
            try:
                adapter = self.adapter(step.__class__)
                plain = step if adapter is None else adapter.now(step)
                if plain is LATER:
                    raise StepLater
                number = whole(plain)
            except (Traced, StepLater):
                raise
            except Exception:
                self._bad(
                    "step",
                    f"step={safe_repr(step)[:80]} is a {type(step).__name__}, not a whole number: the record was "
                    "numbered automatically; pass step=int(...)",
                )
                return None
        if number is not None and number not in _STEPS:
            self._bad(
                "step", f"step={safe_repr(number)[:80]} does not fit 64 bits: the record was numbered automatically"
            )
            return None
        return number


def _same(value: str) -> str:
    return value


def _describe(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
