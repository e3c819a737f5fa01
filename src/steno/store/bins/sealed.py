"""The points of some keys out of one part, reading the columns and row groups that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.store.bins.rows import Rows, concat
from steno.store.columns import to_numpy, valid_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_WHOLE: Final = (("step", "int64"), ("record", "int64"))
_SMALL: Final = ("rank", "attempt")


def read(path: Path, keys: Sequence[str], node: int) -> dict[int, Rows]:
    """By position in `keys`, the points of the part that have it, in the order of the part; x is the step.

    Raises:
        OSError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow.parquet as pq

    found: dict[int, list[Rows]] = {}
    with pq.ParquetFile(path, read_dictionary=["key"], pre_buffer=False) as file:
        groups, mixed = _groups(file.metadata, keys)
        if not groups:
            return {}
        columns = ["step", "record", "time", "rank", "attempt", "value", *(["key"] if mixed else [])]
        table = file.read_row_groups([number for number, _ in groups], columns=columns, use_threads=False)
        whole = _rows(table, node)
        if mixed:
            _by_key(table["key"], keys, whole, found)
        else:
            begin = 0
            for number, key in groups:
                end = begin + file.metadata.row_group(number).num_rows
                found.setdefault(key, []).append(whole.take(slice(begin, end)))
                begin = end
    return {key: concat(pieces) for key, pieces in found.items()}


def _groups(metadata: Any, keys: Sequence[str]) -> tuple[list[tuple[int, int]], bool]:
    """The row groups that may hold a key, with the one key that they all hold; whether one may hold several."""
    names = {metadata.schema.column(at).name: at for at in range(metadata.num_columns)}
    groups: list[tuple[int, int]] = []
    mixed = False
    for number in range(metadata.num_row_groups):
        known = metadata.row_group(number).column(names["key"]).statistics
        if known is None or not known.has_min_max:
            groups.append((number, 0))
            mixed = True
            continue
        held = [at for at, key in enumerate(keys) if known.min <= key <= known.max]
        if held:
            groups.append((number, held[0]))
            mixed |= known.min != known.max
    return groups, mixed


def _rows(table: pa.Table, node: int) -> Rows:
    import numpy as np
    import pyarrow as pa

    count = len(table)
    columns: dict[str, Any] = {name: to_numpy(table[name], dtype) for name, dtype in _WHOLE}
    columns |= {name: to_numpy(table[name], "int32") for name in _SMALL}
    time = to_numpy(table["time"], "int64")
    if pa.types.is_timestamp(table["time"].type) and table["time"].type.unit == "us":
        time = time * 1000
    value = table["value"]
    other = np.zeros(count, bool)
    if value.null_count:
        other[:] = True
        other[valid_rows(value)] = False
    return Rows(
        series=np.zeros(count, np.int32),
        x=columns["step"],
        time=time,
        node=np.full(count, node, np.int64),
        value=to_numpy(value, "float64"),
        other=other,
        **columns,
    )


def _by_key(names: pa.ChunkedArray, keys: Sequence[str], whole: Rows, found: dict[int, list[Rows]]) -> None:
    """Share the rows out by their keys, whose rows mostly follow each other."""
    import numpy as np
    import pyarrow as pa

    wanted = {key: at for at, key in enumerate(keys)}
    coded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    begin = 0
    for chunk in coded.chunks:
        codes: NDArray[np.integer[Any]] = to_numpy(
            pa.chunked_array([chunk.indices]), f"int{chunk.indices.type.bit_width}"
        )
        for code, name in enumerate(chunk.dictionary.to_pylist()):
            at = wanted.get(name)
            if at is None:
                continue
            rows = np.flatnonzero(codes == code)
            if not len(rows):
                continue
            # By number, which copies: rows that are kept would hold the columns of all keys otherwise.
            found.setdefault(at, []).append(whole.take(begin + rows))
        begin += len(chunk)
