"""Runs of format 1, which are read and not written: what their parts and ledgers say, as this format has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from steno.record import Entry, micros

if TYPE_CHECKING:
    from pathlib import Path

    from steno.record import Batch

_SHIFT: Final = 44
_NUMBER: Final = (1 << _SHIFT) - 1
"""A record's number stood below that of its node."""


def is_of(names: list[str]) -> bool:
    """Whether a part with these columns is of format 1."""
    return "node" not in names


def modern(table: Any) -> Any:
    """A table of such a part's columns with those of this format in their place."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: table[name] for name in table.column_names}
    if "record" in columns:
        record = columns["record"]
        columns["record"] = pc.bit_wise_and(record, pa.scalar(_NUMBER, pa.int64()))
        columns["node"] = pc.shift_right(record, pa.scalar(_SHIFT, pa.int64()))
    if "time" in columns:
        columns["time"] = pc.floor_temporal(columns["time"], unit="microsecond").cast(pa.timestamp("us", "UTC"))
    return pa.table(columns)


def copy(path: Path, target: Path) -> None:
    """Write such a part as this format has it, for engines that read files; one row group is held in memory.

    Raises:
        OSError, ValueError: it cannot be read, or the target not written.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False) as file:
        writer = None
        try:
            for number in range(file.num_row_groups):
                table = modern(file.read_row_group(number, use_threads=False))
                writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd", compression_level=1)
                writer.write_table(table, row_group_size=max(len(table), 1))
        finally:
            if writer is not None:
                writer.close()


def number(record: int) -> int:
    """A record's number in its node's ledger."""
    return record & _NUMBER


def batch(one: Batch) -> Batch:
    """A batch out of such a ledger."""
    return replace(one, record=one.record & _NUMBER, time=one.time // 1000 * 1000)


def entry(one: Entry) -> Entry:
    """An entry out of such a ledger."""
    return replace(one, record=one.record & _NUMBER, time=micros(one.time))
