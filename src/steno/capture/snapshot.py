"""Odd values to encodable ones, at the call: the slow road of `log`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from steno.errors import RecordError
from steno.journal import format as fmt

_encode: Final = msgspec.msgpack.encode
_Ext: Final = msgspec.msgpack.Ext
MODES: Final = ("summary", "list", "histogram")
_MAX_DEPTH: Final = 32
_BIG: Final = (-(2**63), 2**64)


class Unrecordable(Exception):  # noqa: N818 - never leaves this module
    """Why one value cannot be recorded; the message is for the user."""


class Snapshot:
    """Makes a record's values encodable: numbers exact, arrays copied, bad ones reported and left out.

    Thread-safe; holds nothing.

    Args:
        report: told (key, what is wrong and the remedy).
        strict: raise RecordError instead.
    """

    __slots__ = ("_report", "_strict", "convert")

    def __init__(self, report: Callable[[str, str], None], *, strict: bool = False) -> None:
        self._report = report
        self._strict = strict
        self.convert: dict[type, Callable[[Any], Any]] = {float: float, int: _integer, bool: bool, str: _same}
        """By exact type, what makes a scalar encodable; numpy's types are entered as they are met."""

    def _bad(self, key: str, message: str) -> None:
        if self._strict:
            raise RecordError(message)
        self._report(key, message)

    def prepare(self, data: Any, arrays: str | None) -> dict[str, Any] | None:
        """The record with every value encodable, or None when there is nothing left to record."""
        if arrays is not None and arrays not in MODES:
            self._bad(
                "arrays", f"arrays={arrays!r} is unknown: use one of {', '.join(MODES)}; the run's default was used"
            )
            arrays = None
        if not isinstance(data, Mapping):
            self._bad("log", f"log takes a dict of metrics, not {type(data).__name__}: nothing was recorded")
            return None
        out: dict[str, Any] = {}
        convert = self.convert
        try:
            items = list(data.items())
        except Exception as error:
            self._bad("log", f"the metrics could not be read: {error!r}")
            return None
        for key, value in items:
            known = convert.get(value.__class__)
            if known is not None and known is not _same and key.__class__ is str and key.isascii():
                try:
                    out[key] = known(value)
                except Unrecordable as why:
                    self._bad(key, f"{key!r} was left out: {why}")
                continue
            name = self._name(key)
            if name is None:
                continue
            try:
                out[name] = self.value(name, value, 0)
            except Unrecordable as why:
                self._bad(name, f"{name!r} was left out: {why}")
            except Exception as error:
                self._bad(name, f"{name!r} was left out: reading it failed with {error!r}")
        return out or None

    def _name(self, key: Any) -> str | None:
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

    def value(self, key: str, value: Any, depth: int) -> Any:
        """One value, encodable.

        Raises:
            Unrecordable: why not.
        """
        kind = value.__class__
        if kind is float or kind is bool:
            return value
        if kind is int:
            return _integer(value)
        if kind is str:
            return _string(value)
        if value is None:
            msg = "None has no value; leave the key out, or log float('nan')"
            raise Unrecordable(msg)
        if isinstance(value, Mapping):
            return self._mapping(key, value, depth)
        if isinstance(value, (list, tuple)):
            return self._sequence(key, value, depth)
        module = kind.__module__.partition(".")[0]
        if module in {"numpy", "ml_dtypes"}:
            plain = _numpy(value)
            if kind.__module__ == "numpy" and plain.__class__ in _PLAIN and value.shape == () and value.itemsize <= 8:
                # float(x) is ten times cheaper than x.item(), and as exact for what item() makes a float of.
                self.convert[kind] = _PLAIN[plain.__class__]
            return plain
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
        if hasattr(value, "__array__") and module not in {"torch", "jax", "jaxlib", "tensorflow"}:
            import numpy as np

            return _array(np.asarray(value))
        if kind is complex:
            msg = "a complex number cannot be recorded; log x.real and x.imag"
            raise Unrecordable(msg)
        msg = f"{_describe(kind)} is not a number, string, array or dict; log float(x) or a dict of numbers"
        raise Unrecordable(msg)

    def _mapping(self, key: str, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
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
                out[name] = self.value(path, item, depth + 1)
            except Unrecordable as why:
                self._bad(path, f"{path!r} was left out: {why}")
        if not out:
            msg = "nothing in it could be recorded" if value else "it is empty"
            raise Unrecordable(msg)
        return out

    def _sequence(self, key: str, value: list[Any] | tuple[Any, ...], depth: int) -> Any:
        if not value:
            msg = "it is empty"
            raise Unrecordable(msg)
        if depth >= _MAX_DEPTH:
            msg = f"it is nested more than {_MAX_DEPTH} levels deep"
            raise Unrecordable(msg)
        out = []
        for index, item in enumerate(value):
            try:
                out.append(self.value(f"{key}/{index}", item, depth + 1))
            except Unrecordable as why:
                self._bad(f"{key}/{index}", f"'{key}/{index}' was left out: {why}")
                out.append(_Ext(fmt.EXT_LOST, str(why).encode()))
        return out

    def step(self, step: Any) -> int | None:
        """A step as an int; None, after one report, for what is none."""
        if step is None or step.__class__ is int:
            if step is not None and not -(2**63) <= step < 2**63:
                self._bad("step", f"step={step} does not fit 64 bits: the record was numbered automatically")
                return None
            return step
        try:
            return int(operator.index(step))
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


def _numpy(value: Any) -> Any:
    """A numpy scalar or array; exact, or refused."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return _array(value)
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


def _array(array: Any) -> Any:
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
    return _Ext(fmt.EXT_ARRAY, _encode((array.dtype.str, array.shape, array.tobytes(), None)))


def _object(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    msg = f"an array of {type(value).__name__} objects cannot be recorded"
    raise Unrecordable(msg)


def _describe(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
