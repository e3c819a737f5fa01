"""Odd values to encodable ones, at the call: the slow road of `log`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.capture.raws import placed
from steno.devices import found
from steno.devices.base import LATER, Refused, Traced
from steno.errors import RecordError
from steno.events.level import LogLevel
from steno.journal import format as fmt
from steno.media.raw import Captured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.capture.raws import Place
    from steno.devices.base import Adapter
    from steno.media.raw import Buffer

_encode: Final = msgspec.msgpack.encode
_Ext: Final = msgspec.msgpack.Ext
HOLE: Final = _Ext(fmt.EXT_HOLE, b"")
_KINDS: Final = 4096
_NUMBERS: Final = frozenset({float, int, bool})
MODES: Final = ("summary", "list", "histogram")
_LEVELS: Final = frozenset(int(level) for level in LogLevel)
_MAX_DEPTH: Final = 32
_BIG: Final = (-(2**63), 2**64)


class Unrecordable(ValueError):  # noqa: N818 - never leaves this module
    """Why one value cannot be recorded; the message is for the user."""


class StepLater(Exception):  # noqa: N818 - a turn of the road, not a fault
    """The step is still on a device."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A value that stands in the record as a hole: a device still has it."""

    key: str
    adapter: Adapter
    value: Any


class _WithTraced(list[Owed]):
    """Takes values that exist only while a function is compiled, as well."""


class Snapshot:
    """Makes a record's values encodable: numbers exact, arrays copied, bad ones reported and left out.

    Thread-safe; holds no value.

    Args:
        report: told (key, what is wrong and the remedy).
        strict: raise RecordError instead.
        put: copies the raw bytes of a media value, returns where they lie; raises OSError.
    """

    __slots__ = ("_adapters", "_put", "_report", "_strict", "convert", "has_media")

    def __init__(
        self,
        report: Callable[[str, str], None],
        *,
        strict: bool = False,
        put: Callable[[Iterable[Buffer], int], Place] | None = None,
    ) -> None:
        self._report = report
        self._strict = strict
        self._put = put
        self.has_media = False
        """Whether a media value was among what was prepared."""
        self._adapters: dict[type, Adapter | None] = {}
        self.convert: dict[type, Callable[[Any], Any]] = {
            float: float, int: _integer, bool: bool, str: _same, list: _same, dict: _same, _Ext: _same,
        }  # fmt: skip
        """By exact type, what makes a value encodable; numpy's, torch's and JAX's types are entered when met."""

    def _bad(self, key: str, message: str) -> None:
        if self._strict:
            raise RecordError(message)
        self._report(key, message)

    def prepare(self, data: Any, *, traced: bool = False) -> tuple[dict[str, Any], list[Owed]] | None:
        """The record with every value encodable and what devices owe it; None when nothing is left to record.

        Raises:
            Traced: a value exists only while a function is compiled; with `traced` it is owed too.
        """
        if not isinstance(data, Mapping):
            self._bad("log", f"log takes a dict of metrics, not {type(data).__name__}: nothing was recorded")
            return None
        out: dict[str, Any] = {}
        owed: list[Owed] = _WithTraced() if traced else []
        try:
            items = list(data.items())
        except Exception as error:
            self._bad("log", f"the metrics could not be read: {error!r}")
            return None
        for key, value in items:
            name = self._name(key)
            if name is None:
                continue
            try:
                out[name] = self.value(name, value, 0, owed)
            except Traced:
                raise
            except Unrecordable as why:
                self._bad(name, f"{name!r} was left out: {why}")
            except Exception as error:
                self._bad(name, f"{name!r} was left out: reading it failed with {error!r}")
        return (out, owed) if out else None

    def _name(self, key: Any) -> str | None:
        if key.__class__ is str and key.isascii():
            return str(key)
        if isinstance(key, str):
            name = str.__str__(key)
            try:
                name.encode()
            except UnicodeEncodeError:
                safe = name.encode("utf-8", "backslashreplace").decode()
                self._bad(safe, f"the key {safe!r} is not valid unicode: it was recorded under that spelling")
                return safe
            return name
        try:
            name = str(key)
        except Exception as error:
            self._bad("log", f"a key of type {type(key).__name__} has no text: {error!r}")
            return None
        self._bad(name, f"the key {key!r} is not a string: it was recorded as {name!r}")
        return name

    def value(self, key: str, value: Any, depth: int, owed: list[Owed]) -> Any:
        """One value, encodable; a device value is a hole, and added to `owed`.

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
                # What else it may be, or why it cannot be recorded, is told below.
                pass
        if kind is int:
            return _integer(value)
        if kind is str:
            return _string(value)
        if value is None:
            msg = "None has no value; leave the key out, or log float('nan')"
            raise Unrecordable(msg)
        adapter = self.adapter(kind)
        if adapter is not None:
            return self._device(key, value, adapter, owed)
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth, owed)
        if isinstance(value, (list, tuple)):
            return self._sequence(key, value, depth, owed)
        module = kind.__module__.partition(".")[0]
        if module in {"numpy", "ml_dtypes"}:
            plain = _numpy(value)
            if plain.__class__ in _PLAIN and _is_scalar(value) and value.itemsize <= 8:
                # An array without dimensions does not count: the next one of its type may have some.
                # float(x) is ten times cheaper than x.item(), and as exact for what item() makes a float of.
                self.convert[kind] = _PLAIN[plain.__class__]
            return plain
        media = getattr(kind, "__steno__", None)
        if media is not None:
            return self._media(key, media(value), depth, owed)
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int):
            return _integer(int(value))
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return _string(str.__str__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            msg = f"{kind.__name__} cannot be recorded as a metric; decode it to str, or log_artifact it"
            raise Unrecordable(msg)
        if kind.__name__ in {"Decimal", "Fraction"}:
            return _string(str(value))
        if hasattr(value, "isoformat"):
            return _string(value.isoformat())
        if module == "tensordict" and kind.__name__ == "NonTensorData":
            return self.value(key, value.data, depth + 1, owed)
        if hasattr(value, "__array__") and module not in {"torch", "jax", "jaxlib", "tensorflow"}:
            import numpy as np

            return _array(np.asarray(value))
        if kind is complex:
            msg = "a complex number cannot be recorded; log x.real and x.imag"
            raise Unrecordable(msg)
        msg = f"{_describe(kind)} is not a number, string, array or dict; log float(x) or a dict of numbers"
        raise Unrecordable(msg)

    def _media(self, key: str, made: Any, depth: int, owed: list[Owed]) -> Any:
        """What an object's `__steno__` returned: a media value to copy now, or anything else to log in its place."""
        if not isinstance(made, Captured):
            if depth >= _MAX_DEPTH:
                msg = "its __steno__ returns another such object, without end"
                raise Unrecordable(msg)
            return self.value(key, made, depth + 1, owed)
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

    def _device(self, key: str, value: Any, adapter: Adapter, owed: list[Owed]) -> Any:
        try:
            plain = adapter.now(value)
        except Refused as why:
            raise Unrecordable(str(why)) from None
        except Traced:
            if owed.__class__ is not _WithTraced:
                raise
            plain = LATER
        if plain is LATER:
            owed.append(Owed(key, adapter, value))
            return HOLE
        if plain.__class__ in _NUMBERS:
            self.convert.setdefault(value.__class__, adapter.scalar)
        return encodable(plain)

    def _mapping(self, key: str, value: Mapping[Any, Any], depth: int, owed: list[Owed]) -> dict[str, Any]:
        if depth >= _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} levels deep"
            raise Unrecordable(msg)
        out: dict[str, Any] = {}
        for inner, item in list(value.items()):
            name = self._name(inner)
            if name is None:
                continue
            path = f"{key}/{name}"
            try:
                out[name] = self.value(path, item, depth + 1, owed)
            except Unrecordable as why:
                self._bad(path, f"{path!r} was left out: {why}")
        if not out:
            msg = "nothing in it could be recorded" if value else "it is empty"
            raise Unrecordable(msg)
        return out

    def _sequence(self, key: str, value: list[Any] | tuple[Any, ...], depth: int, owed: list[Owed]) -> Any:
        if not value:
            msg = "it is empty"
            raise Unrecordable(msg)
        if depth >= _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} levels deep"
            raise Unrecordable(msg)
        out = []
        for index, item in enumerate(value):
            try:
                out.append(self.value(f"{key}/{index}", item, depth + 1, owed))
            except Unrecordable as why:
                self._bad(f"{key}/{index}", f"'{key}/{index}' was left out: {why}")
                out.append(_Ext(fmt.EXT_LOST, str(why).encode()))
        return out

    def options(self, level: Any, arrays: Any) -> tuple[int | None, str | None]:
        """A level and an arrays mode as they can be journalled; None, after one report, for what is none."""
        if arrays is not None and not (arrays.__class__ is str and arrays in MODES):
            shown = repr(arrays[:80]) if arrays.__class__ is str else f"a {type(arrays).__name__}"
            self._bad("arrays", f"arrays={shown} is unknown: use one of {', '.join(MODES)}; the run's default was used")
            arrays = None
        if level is not None and not (level.__class__ is int and level in _LEVELS):
            try:
                level = int(LogLevel(level))
            except Exception as why:
                said = str(why) if why.__class__ is ValueError else f"a {type(level).__name__} is no level: {why!r}"
                self._bad("level", f"{said}. The record was kept without it")
                level = None
        return level, arrays

    def step(self, step: Any) -> int | None:
        """A step as an int; None, after one report, for what is none."""
        if step is None or step.__class__ is int:
            if step is not None and not -(2**63) <= step < 2**63:
                self._bad("step", f"step={step} does not fit 64 bits: the record was numbered automatically")
                return None
            return step
        try:
            adapter = self.adapter(step.__class__)
            plain = step if adapter is None else adapter.now(step)
            if plain is LATER:
                raise StepLater
            return int(operator.index(plain))
        except (Traced, StepLater):
            raise
        except Exception:
            shown = repr(step)[:80]
            self._bad(
                "step",
                f"step={shown} is a {type(step).__name__}, not an int: the record was numbered automatically; "
                "pass step=int(...)",
            )
            return None


def _whole(value: Any) -> Any:
    return _integer(int(value))


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {float: float, int: _whole, bool: bool}


def _same(value: str) -> str:
    return value


def encodable(value: Any, arrays: str | None = None) -> Any:
    """A number or a numpy array, as an adapter gives it, encodable; an array keeps the mode it was logged with.

    Raises:
        Unrecordable: why not.
    """
    kind = value.__class__
    if kind is float or kind is bool:
        return value
    if kind is int:
        return _integer(value)
    return _numpy(value, arrays)


def _integer(value: int) -> Any:
    if _BIG[0] <= value < _BIG[1]:
        return value
    if value.bit_length() > 13_000:
        msg = f"an integer of {value.bit_length()} bits is too big; log float(x) or str(x)"
        raise Unrecordable(msg)
    return _Ext(fmt.EXT_BIG, str(value).encode())


def _string(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        msg = f"the string is not valid unicode ({error.reason} at {error.start})"
        raise Unrecordable(msg) from None
    return value


def _is_scalar(value: Any) -> bool:
    import numpy as np

    return isinstance(value, np.generic) and type(value).__module__ == "numpy"


def _numpy(value: Any, arrays: str | None = None) -> Any:
    """A numpy scalar or array; exact, or refused."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return _array(value, arrays)
    if not isinstance(value, np.generic):
        return _array(np.asarray(value))
    kind = value.dtype.kind
    if kind in "biuf":
        plain = value.item()
        if isinstance(plain, np.longdouble):
            number = float(plain)
            if np.longdouble(number) != plain and not np.isnan(plain):
                msg = f"{value.dtype} {plain} has more digits than a float64; log float(x) if that is enough"
                raise Unrecordable(msg)
            return number
        return _integer(plain) if kind in "iu" else plain
    if kind == "V" and value.dtype.type.__module__ == "ml_dtypes":
        return float(value)
    if kind == "U":
        return _string(str(value))
    if kind in "mM":
        return _string(str(value))
    msg = f"a numpy {value.dtype} cannot be recorded" + ("; log x.real and x.imag" if kind == "c" else "")
    raise Unrecordable(msg)


def _array(array: Any, arrays: str | None = None) -> Any:
    import numpy as np

    if array.size == 0:
        msg = f"the array is empty (shape {array.shape})"
        raise Unrecordable(msg)
    if array.size == 1:
        return _numpy(array.reshape(-1)[0]) if array.dtype.kind != "O" else _object(array.reshape(-1)[0])
    if array.dtype.kind not in "biuf":
        if array.dtype.type.__module__ != "ml_dtypes":
            msg = f"an array of {array.dtype} cannot be recorded; convert it to a number type"
            raise Unrecordable(msg)
        array = array.astype(np.float32)
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return _Ext(fmt.EXT_ARRAY, _encode((array.dtype.str, array.shape, array.tobytes(), arrays)))


def _object(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    msg = f"an array of {type(value).__name__} objects cannot be recorded"
    raise Unrecordable(msg)


def _describe(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
