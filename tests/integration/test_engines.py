"""Parts as other engines read them: the same rows, value by value, without a word about their columns."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import importlib.util
import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engine_tables import ENGINES

import steno
from nodes import node_of
from steno.ledger import layout
from steno.ledger.schema import ref_text
from steno.record import Ref

NUMBERS = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-0.0": -0.0,
    "least": 5e-324,
    "most": 1.7976931348623157e308,
    "third": 1 / 3,
}
INTEGERS = {"2**53 + 1": 2**53 + 1, "2**63 - 1": 2**63 - 1, "-2**63": -(2**63), "10**30": 10**30}
TEXTS = {"empty": "", "quotes": "a\"'`\\", "lines": "a\nb\tc\r", "letters": "äß漢😀", "number": "1e5", "null": "NULL"}
COLUMNS = [name for name, *_ in layout.METRICS]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> list[Path]:
    """Two metrics parts of one run, of two attempts: one with few values of all kinds, one with many numbers."""
    place = tmp_path_factory.mktemp("runs")
    for attempt in (1, 2):
        with steno.init(project="p ä", name="r", dir=place, resume=attempt == 2, destinations=[]) as run:
            if attempt == 1:
                for step in range(3):
                    run.log({**NUMBERS, **INTEGERS, **TEXTS}, step=step, level=3 if step else None)
                run.log(
                    {
                        "histogram": steno.Histogram(np.arange(10.0)),
                        "image": steno.Image(np.zeros((4, 4, 3), np.uint8)),
                    },
                    step=9,
                )
            else:
                for step in range(20_000):
                    run.log({"many": step / 7, "few": round(math.sin(step), 2)}, step=step)
            assert run.finish(60)
    steno.sync(run.dir)
    return sorted((run.dir / "metrics").glob("*.parquet"))


@pytest.fixture(scope="module")
def expected(parts) -> list[tuple[Any, ...]]:
    """What was logged, as steno's own reader has it, in the form of `row`."""
    run_dir = parts[0].parents[1]
    facts = json.loads((run_dir / "run.json").read_text())
    same = layout.Constants(facts["project"], facts["id"], node_of(run_dir))
    rows = []
    with steno.open(run_dir) as reader:
        for batch in reader.batches():
            for at, record in enumerate(batch.records()):
                meta = json.dumps(dict(batch.meta[at]), separators=(",", ":")) if batch.meta.get(at) else None
                for key, value in record.values.items():
                    number, exact, text, ref = value, None, None, None
                    if isinstance(value, str):
                        number, text = None, value
                    elif isinstance(value, Ref):
                        number, ref = None, ref_text(value)
                    elif isinstance(value, int):
                        number = float(value)
                        exact, text = (value, None) if -(2**63) <= value < 2**63 else (None, str(value))
                    said = (same.project, same.run, same.node, same.bucket, key, record.rank, record.attempt)
                    where = (record.step, record.time // 1000, record.record, batch.id)
                    rows.append((*said, *where, bits(number), exact, text, ref, meta))
    assert len(rows) == 3 * (len(NUMBERS) + len(INTEGERS) + len(TEXTS)) + 2 + 40_000
    return sorted(rows, key=by)


def bits(number: float | None) -> str | None:
    """A float64 to the bit; one NaN is as good as another."""
    return None if number is None else "nan" if number != number else struct.pack(">d", number).hex()  # noqa: PLR0124


def by(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[4], row[6], row[9]


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """An engine's Arrow table, whatever widths of texts and which nanosecond or microsecond it has chosen."""
    assert set(table.column_names) >= set(COLUMNS), table.schema
    columns = []
    for name in COLUMNS:
        column = table[name]
        if name == "time":
            column = pa.chunked_array([column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())])
        values = column.to_pylist() if not isinstance(column, pa.ChunkedArray) else column.combine_chunks().to_pylist()
        columns.append([bits(value) for value in values] if name == "value" else values)
    return sorted(zip(*columns, strict=True), key=by)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_reads_what_was_logged(name, parts, expected, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: scripts/test-integrations engines")
    program, out = Path(__file__).with_name("engine_tables.py"), tmp_path / "rows.arrow"
    arguments = [sys.executable, "-W", "ignore", str(program), name, str(tmp_path), str(out), *map(str, parts)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-4000:]
    with pa.ipc.open_file(out) as file:
        found = rows_of(file.read_all())
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert mine == other
    print(f"{name} {importlib.metadata.version(name)}: {len(found):,} rows are the same")


def test_times_are_moments_in_utc(parts, expected):
    found = pq.read_table(parts[0])
    assert found.schema.field("time").type == pa.timestamp("us", "UTC")
    newest = dt.datetime.fromtimestamp(max(row[8] for row in expected) / 1e6, dt.UTC)
    assert abs(dt.datetime.now(dt.UTC) - newest) < dt.timedelta(hours=1)


def test_every_column_has_its_id_and_a_plain_type(parts):
    for path in parts:
        schema = pq.read_schema(path)
        found = [(one.name, int(one.metadata[b"PARQUET:field_id"]), one.nullable) for one in schema]
        assert found == [(name, number, nullable) for name, number, _, nullable in layout.METRICS]
        assert not any(pa.types.is_dictionary(one.type) for one in schema)
