"""Columns between Arrow and numpy, by their buffers: without a copy where that is possible.

Not by pyarrow's own `to_numpy` and `array`: they import pandas where it is installed, a third of a second of CPU and
40 MiB for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def to_numpy(column: pa.ChunkedArray, dtype: str) -> NDArray[Any]:
    """A column of fixed width as an array of the dtype, which must be of that width; null is NaN, or 0 in integers."""
    import numpy as np

    pieces = []
    for chunk in column.chunks:
        data = chunk.buffers()[1]
        piece = np.frombuffer(data, dtype)[chunk.offset : chunk.offset + len(chunk)] if data is not None else None
        if piece is None or chunk.null_count:
            piece = np.zeros(len(chunk), dtype) if piece is None else piece.copy()
            piece[~_given(chunk)] = np.nan if piece.dtype.kind == "f" else 0
        pieces.append(piece)
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype)


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers or times as an array of its own width; null is NaN."""
    import numpy as np

    pieces = [of_array(chunk) for chunk in column.chunks]
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def of_array(array: pa.Array) -> NDArray[Any]:
    """Numbers or times as an array of their own width; null is NaN."""
    import numpy as np

    found = in_memory(array)
    return np.where(_given(array), found, np.nan) if array.null_count else found


def in_memory(array: pa.Array) -> NDArray[Any]:
    """Numbers or times as they lie in memory, whatever stands where one is null."""
    import numpy as np

    width = array.type.bit_width // 8
    kind = f"f{width}" if str(array.type) == "double" else f"i{width}"
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * width)


def valid_rows(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Row numbers of the values that are not null."""
    import numpy as np

    start, pieces = 0, [np.empty(0, np.int64)]
    for chunk in column.chunks:
        if chunk.null_count < len(chunk):
            pieces.append(start + np.flatnonzero(_given(chunk)))
        start += len(chunk)
    return np.concatenate(pieces)


def given(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which values of a column that has any are not null."""
    import numpy as np

    return np.concatenate([_given(chunk) for chunk in column.chunks])


def _given(array: pa.Array) -> NDArray[np.bool_]:
    import numpy as np

    bits = array.buffers()[0]
    if bits is None:
        return np.ones(len(array), np.bool_)
    every = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return every[array.offset :][: len(array)].astype(np.bool_)


def to_arrow(array: NDArray[Any], kind: pa.DataType, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array as a column of a type of the same width; null where `missing`. Shares the array's memory."""
    import numpy as np
    import pyarrow as pa

    valid = None
    if missing is not None and missing.any():
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(kind, len(array), [valid, pa.py_buffer(np.ascontiguousarray(array))])


def strings(texts: Sequence[str | None]) -> pa.Array:
    """A column of strings; None is null."""
    import numpy as np
    import pyarrow as pa

    coded = [b"" if text is None else text.encode() for text in texts]
    ends = np.zeros(len(coded) + 1, np.int32)
    np.cumsum([len(text) for text in coded], out=ends[1:])
    missing = _missing(texts)
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pa.Array.from_buffers(pa.string(), len(coded), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(coded))])


def integers(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
    """A column of integers, or of times, of a type of fixed width; None is null."""
    import numpy as np

    column = np.array([0 if value is None else value for value in values], np.int64)
    return to_arrow(column.astype(f"i{kind.bit_width // 8}"), kind, _missing(values))


def _missing(values: Sequence[object]) -> NDArray[np.bool_]:
    import numpy as np

    return np.fromiter((value is None for value in values), np.bool_, len(values))
