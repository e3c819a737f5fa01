"""The columns of parts, with their types and field ids; `docs/store-format.md` says what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

NS_PER_TICK: Final = 1000
"""A part keeps times in microseconds."""
BUCKETS: Final = 256

# (name, field id, type, whether it may be null). The ids of a kind of parts count from 1 in the order of the columns,
# as a catalogue numbers the columns of a table that it is told of. None is given to another column of its kind; a
# reader passes over columns that it does not know.
_SAME: Final = (
    ("project", 1, "string", False),
    ("run", 2, "string", False),
    ("node", 3, "int64", False),
    ("bucket", 4, "int32", False),
)
METRICS: Final = (
    *_SAME,
    ("key", 5, "string", False),
    ("rank", 6, "int32", False),
    ("attempt", 7, "int32", False),
    ("step", 8, "int64", False),
    ("time", 9, "time", False),
    ("record", 10, "int64", False),
    ("batch", 11, "int64", False),
    ("value", 12, "double", True),
    ("exact", 13, "int64", True),
    ("text", 14, "string", True),
    ("ref", 15, "string", True),
    ("meta", 16, "string", True),
)
RECORDS: Final = (
    *_SAME,
    ("kind", 5, "string", False),
    ("rank", 6, "int32", False),
    ("attempt", 7, "int32", False),
    ("step", 8, "int64", True),
    ("time", 9, "time", False),
    ("record", 10, "int64", False),
    ("batch", 11, "int64", False),
    ("payload", 12, "string", False),
)
STATISTICS: Final = ("project", "run", "bucket", "key", "rank", "attempt", "step", "record", "batch", "value")
"""Columns of points whose least and greatest values are kept for each row group. A table is parted by the first three:
those who enter a part into one learn its place from there."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What each row of a part says of where it comes from."""

    project: str
    run: str
    """The run's id."""
    node: int

    @property
    def bucket(self) -> int:
        """For engines that part a table of very many runs by it."""
        import crc32c

        return int(crc32c.crc32c(self.run.encode())) % BUCKETS


def schema(columns: tuple[tuple[str, int, str, bool], ...], *coded: str) -> Any:
    """The Arrow schema of a part; the `coded` columns of texts are given as dictionaries, and are plain in the file."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "int64": pa.int64(),
        "int32": pa.int32(),
        "double": pa.float64(),
        "time": pa.timestamp("us", "UTC"),
    }
    return pa.schema(
        [
            pa.field(
                name,
                pa.dictionary(pa.int32(), pa.string()) if name in coded else kinds[kind],
                nullable=nullable,
                metadata={b"PARQUET:field_id": str(number).encode()},
            )
            for name, number, kind, nullable in columns
        ]
    )
