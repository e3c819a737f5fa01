"""Columns between Arrow and numpy, without a copy where that is possible.

Not by pyarrow's own `to_numpy` and `array`: they import pandas where it is installed, a quarter of a second.
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
        valid, data = chunk.buffers()
        piece = np.frombuffer(data, dtype)[chunk.offset : chunk.offset + len(chunk)] if data is not None else None
        if piece is None or chunk.null_count:
            piece = np.zeros(len(chunk), dtype) if piece is None else piece.copy()
            bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
            missing = bits[chunk.offset : chunk.offset + len(chunk)] == 0
            piece[missing] = np.nan if piece.dtype.kind == "f" else 0
        pieces.append(piece)
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype)


def valid_rows(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Row numbers of the values that are not null."""
    import numpy as np

    start, pieces = 0, [np.empty(0, np.int64)]
    for chunk in column.chunks:
        if chunk.null_count == 0:
            pieces.append(np.arange(start, start + len(chunk)))
        elif chunk.null_count < len(chunk):
            bits = np.unpackbits(np.frombuffer(chunk.buffers()[0], np.uint8), bitorder="little")
            pieces.append(start + np.flatnonzero(bits[chunk.offset : chunk.offset + len(chunk)]))
        start += len(chunk)
    return np.concatenate(pieces)


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
    valid = _valid(texts)
    return pa.Array.from_buffers(pa.string(), len(coded), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(coded))])


def integers(numbers: Sequence[int | None], kind: pa.DataType) -> pa.Array:
    """A column of integers, or of times, of a type of fixed width; None is null."""
    import numpy as np
    import pyarrow as pa

    column = np.array([0 if number is None else number for number in numbers], f"int{kind.bit_width}")
    return pa.Array.from_buffers(kind, len(column), [_valid(numbers), pa.py_buffer(column)])


def _valid(values: Sequence[object]) -> pa.Buffer | None:
    """Which are not None, one bit each; nothing where all are."""
    import numpy as np
    import pyarrow as pa

    given = [value is not None for value in values]
    return None if all(given) else pa.py_buffer(np.packbits(given, bitorder="little"))
