"""Numbers and arrays as the journal holds them: exact, or refused."""

from __future__ import annotations

import math
import numbers
import operator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno.journal import format as fmt
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

_encode: Final = msgspec.msgpack.encode
_Ext: Final = msgspec.msgpack.Ext
_BIG: Final = (-(2**63), 2**64)
_MOST_BITS: Final = 13_000
_EXACT: Final = 2**53


class Unrecordable(ValueError):  # noqa: N818 - never leaves `capture`
    """Why one value cannot be recorded; the message is for the user."""


def encodable(value: Any, arrays: str | None = None) -> Any:
    """A number or a numpy array, as an adapter gives it, encodable; an array keeps the mode it was logged with.

    Raises:
        Unrecordable: why not.
    """
    kind = value.__class__
    if kind is float or kind is bool:
        return value
    if kind is int:
        return integer(value)
    return numpy_value(value, arrays)


def integer(value: int) -> Any:
    """An integer of any size that is still a number.

    Raises:
        Unrecordable: it has thousands of digits.
    """
    if _BIG[0] <= value < _BIG[1]:
        return value
    if value.bit_length() > _MOST_BITS:
        msg = f"an integer of {value.bit_length()} bits is too big; log float(x) or str(x)"
        raise Unrecordable(msg)
    return _Ext(fmt.EXT_BIG, str(value).encode())


def real(value: Any) -> Any:
    """A number of any other kind, such as Decimal and Fraction: the nearest float, or an integer beyond its reach.

    Raises:
        Unrecordable: it is complex, or no float is near it.
    """
    if isinstance(value, numbers.Integral):
        return integer(int(value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        msg = f"a {type(value).__name__} that is no real number cannot be recorded; log x.real and x.imag"
        raise Unrecordable(msg) from None
    except OverflowError:
        number = math.inf
    if math.isinf(number) and value != number:
        msg = f"a {type(value).__name__} beyond what a float64 holds cannot be recorded; log its logarithm, or str(x)"
        raise Unrecordable(msg)
    return integer(int(value)) if abs(number) > _EXACT and math.isfinite(number) and value == int(value) else number


def whole(value: Any) -> int:
    """A step as an int: an integer, or a number of any kind without a fraction, also as an array of one element.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    try:
        return int(operator.index(value))
    except TypeError:
        number = value
        if getattr(value, "size", 0) == 1 and hasattr(value, "dtype"):
            number = value.tolist()  # of a masked element None, where item() is what lies below the mask
            while isinstance(number, list):
                (number,) = number
        if not isinstance(number, numbers.Number) or number != int(number):  # type: ignore[call-overload]
            raise
        return int(number)  # type: ignore[call-overload,no-any-return]


# -- numpy --------------------------------------------------------------------------------------------------


def _whole_scalar(value: Any) -> Any:
    return integer(int(value))


BY_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {float: float, int: _whole_scalar, bool: bool}
"""By the type that a numpy scalar stands for, what makes it encodable: float(x) is ten times cheaper than x.item()."""


def is_scalar(value: Any) -> bool:
    """Whether it is one of numpy's own scalars: an array without dimensions is none."""
    import numpy as np

    return isinstance(value, np.generic) and type(value).__module__ == "numpy"


def numpy_value(value: Any, arrays: str | None = None) -> Any:
    """A numpy scalar or array; exact, or refused.

    Raises:
        Unrecordable: why not.
    """
    import numpy as np

    if isinstance(value, np.ndarray):
        return array(value, arrays)
    if not isinstance(value, np.generic):
        return array(np.asarray(value))
    kind = value.dtype.kind
    if kind in "biuf":
        plain = value.item()
        if isinstance(plain, np.longdouble):
            number = float(plain)
            if np.longdouble(number) != plain and not np.isnan(plain):
                msg = f"{value.dtype} {plain} has more digits than a float64; log float(x) if that is enough"
                raise Unrecordable(msg)
            return number
        return integer(plain) if kind in "iu" else plain
    if kind == "V" and value.dtype.type.__module__ == "ml_dtypes":
        return float(value)
    if kind in "UmM":
        return escaped(str(value))
    msg = f"a numpy {value.dtype} cannot be recorded" + ("; log x.real and x.imag" if kind == "c" else "")
    raise Unrecordable(msg)


def array(given: Any, arrays: str | None = None) -> Any:
    """A numpy array, copied, with its mask if it has one.

    Raises:
        Unrecordable: it is empty, or not of numbers.
    """
    import numpy as np

    if given.size == 0:
        msg = f"the array is empty (shape {given.shape})"
        raise Unrecordable(msg)
    mask = None
    if given.__class__ is not np.ndarray and np.ma.isMaskedArray(given):
        mask = np.ma.getmaskarray(given) if np.ma.is_masked(given) and given.dtype.names is None else None
        given = given.data if mask is None else given.filled(0)
    if given.size == 1:
        if mask is not None:
            return math.nan
        one = given.reshape(-1)[0]
        return numpy_value(one) if given.dtype.kind != "O" else _object(one)
    if given.dtype.kind == "O" and all(isinstance(one, numbers.Number) for one in given.reshape(-1)):
        given = np.array([float(one) for one in given.reshape(-1)]).reshape(given.shape)
    if given.dtype.kind not in "biuf":
        if given.dtype.type.__module__ != "ml_dtypes":
            msg = f"an array of {given.dtype} cannot be recorded; convert it to a number type"
            raise Unrecordable(msg)
        given = given.astype(np.float32)
    if given.dtype.itemsize > 8:
        given = given.astype(np.float64)
    masked = () if mask is None else (np.packbits(mask).tobytes(),)
    return _Ext(fmt.EXT_ARRAY, _encode((given.dtype.str, given.shape, given.tobytes(), arrays, *masked)))


def _object(value: Any) -> Any:
    if isinstance(value, numbers.Number):
        return value if isinstance(value, int | float) else real(value)
    msg = f"an array of {type(value).__name__} objects cannot be recorded"
    raise Unrecordable(msg)
