"""The binary answer of `api/chart`: a JSON header that names each column, then the columns as they lie in memory."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno.viewer.answers import encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEDIA_TYPE: Final = "application/vnd.steno.chart"
_ALIGN: Final = 8
_CLOSE: Final = 1e-6


class ColumnWriter:
    """Collects columns and gives each its place. Not thread-safe."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, column: NDArray[Any], *, narrow: bool = False) -> dict[str, Any]:
        """Where a column lies, counted from the end of the header; or the number that all its rows hold.

        Args:
            column: shape (n,), numbers; integers beyond 2**53 must not be in it.
            narrow: float32 will do where `narrowed` takes it.
        """
        made = np.ascontiguousarray(column)
        if made.dtype.kind in "iu":
            made = _as_integers(made)
        if len(made) and made[0] == made[0] and bool((made == made[0]).all()) and not _has_minus_zero(made):
            return {"dtype": "const", "value": made[0].item()}
        if narrow and made.dtype == np.float64:
            made = narrowed(made)
        made = made.astype(made.dtype.newbyteorder("<"), copy=False)
        place = {"dtype": _name(made.dtype), "offset": self._size, "length": len(made)}
        part = made.tobytes()
        self._parts.append(part + b"\0" * (-len(part) % _ALIGN))
        self._size += len(self._parts[-1])
        return place

    def encode(self, header: Any) -> bytes:
        """uint32 length of the header, the header, spaces up to a multiple of 8, the columns."""
        text = encoded(header)
        text += b" " * (-(4 + len(text)) % _ALIGN)
        return b"".join([struct.pack("<I", len(text)), text, *self._parts])


def narrowed(column: NDArray[np.float64]) -> NDArray[Any]:
    """As float32 where that holds every value to 1e-6 of itself and of the column's spread; else as it is.

    The spread counts too: a curve between 1,000,000.0 and 1,000,000.5 would be drawn as a staircase.
    """
    finite = np.isfinite(column)
    some = column[finite]
    with np.errstate(over="ignore", under="ignore"):
        small = column.astype(np.float32)
        if not len(some):
            return small
        off = np.abs(small[finite].astype(np.float64) - some)
    spread = float(some.max() - some.min()) or np.inf
    good = bool((off <= _CLOSE * np.abs(some)).all()) and float(off.max()) <= _CLOSE * spread
    return small if good else column


def _as_integers(column: NDArray[Any]) -> NDArray[Any]:
    if not len(column):
        return column.astype(np.uint32)
    low, high = int(column.min()), int(column.max())
    if low >= 0 and high < 1 << 8:
        return column.astype(np.uint8)
    return column.astype(np.uint32) if low >= 0 and high < 1 << 32 else column.astype(np.float64)


def _has_minus_zero(column: NDArray[Any]) -> bool:
    return column.dtype.kind == "f" and column[0] == 0 and bool(np.signbit(column).any())


def _name(dtype: Any) -> str:
    return "|u1" if dtype.itemsize == 1 else f"<{dtype.kind}{dtype.itemsize}"
