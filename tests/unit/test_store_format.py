"""docs/store-format.md in golden files: what was written once is read as it was meant, and is written so today."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_runs import Writer

import steno
from nodes import part_name
from steno.ledger import layout, verify
from steno.ledger.read import Reader
from steno.record import Ref, named_node, node_name

GOLDEN = Path(__file__).parents[1] / "golden" / "format-2"
PAGE = Path(__file__).parents[2] / "docs" / "store-format.md"
NODE = -0x123456789ABCDEF


def write(run_dir: Path) -> None:
    """The run of the golden files: one part of points, one of entries; `STENO_GOLDEN=1` writes them anew."""
    with Writer(run_dir, node=NODE, format=2, project="golden", id="01M8PHTD58FVFXH73FB3GCMS5M") as writer:
        values = {"a": 0.1, "b": float("nan"), "c": float("-inf"), "d": -0.0, "e": 2**63 - 1, "f": 10**30, "g": "tä\n"}
        writer.log(
            (0, values),
            (None, {"a": 0.2, "ref": Ref("ab" * 16, "image", {"ext": "png", "width": 4})}),
            rank=1,
            entries=[("note", {"n": float("inf")}), ("config", {"lr": 1e-3})],
        )
        writer.log(*[(step, {"many": step / 3}) for step in range(9000)], attempt=2)
        writer.seal()
        writer.close()


def rows(path: Path) -> list[dict[str, str]]:
    """Each row, every value by its repr; times as integers."""
    table = pq.read_table(path)
    at = table.column_names.index("time")
    table = table.set_column(at, "time", table["time"].cast(pa.int64()))
    return [{name: repr(value) for name, value in row.items()} for row in table.to_pylist()]


@pytest.fixture(scope="module", autouse=True)
def _golden():
    if os.environ.get("STENO_GOLDEN"):
        shutil.rmtree(GOLDEN, ignore_errors=True)
        write(GOLDEN)
        for kind in ("metrics", "records"):
            (GOLDEN / f"{kind}.json").write_text(json.dumps(rows(GOLDEN / part_name(GOLDEN, 1, kind))[:40], indent=0))
        shutil.rmtree(GOLDEN / ".steno")
        for path in GOLDEN.rglob("*.bins"):
            path.unlink()


def of_golden(kind: str) -> Path:
    (path,) = (GOLDEN / kind).iterdir()
    return path


@pytest.mark.parametrize("kind", ["metrics", "records"])
def test_a_golden_part_says_what_it_said(kind):
    path = of_golden(kind)
    head, _, tail = path.name.partition("-")
    assert (named_node(head), tail[:5]) == (NODE, "part-")
    assert rows(path)[:40] == json.loads((GOLDEN / f"{kind}.json").read_text())


@pytest.mark.parametrize("kind", ["metrics", "records"])
def test_a_part_is_written_as_the_golden_one(kind, tmp_path):
    write(tmp_path / "r")
    new, old = tmp_path / "r" / part_name(tmp_path / "r", 1, kind), of_golden(kind)
    assert new.name == old.name
    assert rows(new) == rows(old)
    assert pq.read_schema(new).equals(pq.read_schema(old), check_metadata=True)
    mine, other = pq.read_metadata(new), pq.read_metadata(old)
    assert json.loads(mine.metadata[b"steno"]) == json.loads(other.metadata[b"steno"])
    assert json.loads(mine.metadata[b"steno"])["format"] == 2
    assert set(mine.metadata) == {b"steno"}
    shapes = [[group.num_rows for group in map(one.row_group, range(one.num_row_groups))] for one in (mine, other)]
    assert shapes[0] == shapes[1]
    (part,) = [part for part in Reader(tmp_path / "r").snapshot().parts if part.kind == kind]
    assert re.fullmatch(rf"\d+:[0-9a-f]{{8}}:[0-9a-f]{{{16 * mine.num_row_groups}}}", part.crc)
    assert part.crc == verify.checksum(new)


def test_parts_alone_are_a_run(tmp_path):
    """Neither ledger nor manifest: what the golden directory holds."""
    place = tmp_path / "run"
    shutil.copytree(GOLDEN, place)
    with steno.open(place) as reader:
        assert reader.keys() == ["a", "b", "c", "d", "e", "f", "g", "many", "ref"]
        assert reader.series("many").value.tolist() == [step / 3 for step in range(9000)]
        assert reader.series("e").exact.tolist() == [2**63 - 1]
        assert reader.series("f").exact.tolist() == [10**30]
        assert str(reader.series("d").value.tolist()) == "[-0.0]"
        assert reader.series("g").text.tolist() == ["tä\n"]
        assert reader.series("ref").exact.tolist() == [Ref("ab" * 16, "image", {"ext": "png", "width": 4})]
        assert set(reader.series("many").node.tolist()) == {NODE}
        assert [entry.kind for entry in reader.records()] == ["note", "config"]


@pytest.mark.parametrize("kind", ["metrics", "records"])
def test_a_column_that_is_not_known_is_passed_over(kind, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(GOLDEN, place)
    (path,) = (place / kind).iterdir()
    before = pq.ParquetFile(path)
    facts, table = before.metadata.metadata, before.read()
    number = pa.field("later", pa.int32(), metadata={b"PARQUET:field_id": b"60"})
    table = table.add_column(3, number, [pa.array(np.zeros(len(table), np.int32))])
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(facts)
    with steno.open(place) as reader, steno.open(GOLDEN) as golden:
        for key in golden.keys():  # noqa: SIM118 - no mapping
            assert np.array_equal(reader.series(key).value, golden.series(key).value, equal_nan=True)
        assert reader.records() == golden.records()
        assert [len(batch) for batch in reader.batches()] == [len(batch) for batch in golden.batches()]
        assert len(reader.sql("select * from metrics").fetchall()) == 9009


def test_the_page_has_every_column():
    text = PAGE.read_text()
    said = re.findall(r"^\| (\d+) \| `(\w+)` \| ([\w, µ]+) \|", text, re.MULTILINE)
    names = {"int64": "int64", "int32": "int32", "string": "string", "double": "double", "time": "timestamp, µs, UTC"}
    wanted = [
        (str(number), name, names[kind] + (", nullable" if nullable else ""))
        for name, number, kind, nullable in layout.METRICS
    ]
    assert said == wanted
    for name, number, _, _ in layout.RECORDS:
        assert f"`{name}`" in text
        if name in {"kind", "payload"}:
            assert f"`{name}` ({number}, string" in text
    assert ", ".join(f"`{name}`" for name, *_ in layout.RECORDS) in text
    for name in layout.STATISTICS:
        assert f"`{name}`" in text
    for columns in (layout.METRICS, layout.RECORDS):  # what a catalogue gives the columns of a table
        assert [number for _, number, _, _ in columns] == list(range(1, len(columns) + 1))


@pytest.mark.parametrize(
    ("node", "name"),
    [
        (0, "0" * 16),
        (-1, "f" * 16),
        (2**63 - 1, "7" + "f" * 15),
        (-(2**63), "8" + "0" * 15),
        (NODE, "fedcba9876543211"),
    ],
)
def test_the_name_of_a_node(node, name):
    assert node_name(node) == name
    assert named_node(name) == node
    for other in ("A" + name[1:], name + "0", name[1:], f"{name} ", "-1", "²" * 16, f"0x{name}"[:16]):
        assert named_node(other) is None
