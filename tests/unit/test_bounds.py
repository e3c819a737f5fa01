"""How much a Parquet file may unfold into, by its footer and by the header of each page."""

from __future__ import annotations

import random
import struct
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import steno
from steno import bounds
from steno.media.table import from_file


@pytest.fixture(params=["1.0", "2.0"])
def file(request, tmp_path):
    path = tmp_path / "part.parquet"
    table = pa.table({
        "n": np.arange(50_000), "x": np.random.default_rng(0).normal(size=50_000), "t": ["a", "b", None, "d"] * 12_500,
        "l": [[1, 2], [], None, [3]] * 12_500, "same": np.zeros(50_000),
    })  # fmt: skip
    pq.write_table(
        table, path, row_group_size=20_000, data_page_size=10_000, data_page_version=request.param, compression="zstd"
    )
    return path


def test_what_was_written_in_order_is_read(file):
    assert bounds.parquet(file).num_rows == 50_000


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.null(), pa.string(), pa.list_(pa.int64()), pa.struct({"a": pa.bool_()})], ids=str
)
def test_a_table_without_rows_is_read(kind, dictionary, version, tmp_path):
    path = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"a": pa.array([], kind)}), path, use_dictionary=dictionary, data_page_version=version)
    assert bounds.parquet(path).num_rows == 0
    assert from_file(path).to_pydict() == {"a": []}


@pytest.mark.parametrize("field", ["uncompressed", "compressed"])
def test_a_page_that_says_more_than_the_footer_is_refused(file, field):
    data = bytearray(file.read_bytes())
    column = pq.read_metadata(file).row_group(1).column(0)
    at = min(one for one in (column.dictionary_page_offset, column.data_page_offset) if one)
    page, behind = bounds._page_header(memoryview(data), at)
    number = page[2 if field == "uncompressed" else 3]
    old = _zigzag(number)
    place = data.index(old, at, behind)
    data[place : place + len(old)] = _zigzag(0x7FFFFFFF, len(old))
    file.write_bytes(data)
    with pytest.raises(steno.CorruptError, match="is not read"):
        bounds.parquet(file)


def _zigzag(number: int, width: int | None = None) -> bytes:
    """A varint; of a given width the largest that has it."""
    if width is not None:
        return b"\xff" * (width - 1) + b"\x7e"
    number, found = number << 1, b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def test_whatever_stands_in_a_pages_header_is_an_answer(file):
    whole, rng = file.read_bytes(), random.Random(7)
    column = pq.read_metadata(file).row_group(0).column(1)
    at = min(one for one in (column.dictionary_page_offset, column.data_page_offset) if one)
    began = time.monotonic()
    for _ in range(300):
        data = bytearray(whole)
        place = at + rng.randrange(30)
        data[place : place + 4] = rng.choice([rng.randbytes(4), b"\xff" * 4, bytes(4), struct.pack("<I", 1 << 31)])
        file.write_bytes(data)
        bounds._WALKED.clear()
        try:
            bounds.parquet(file)
        except (steno.CorruptError, ValueError, OSError):
            continue
    assert time.monotonic() - began < 60
