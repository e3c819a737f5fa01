"""Parts of one key set, laid out as a table, hold what the general way writes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from steno.ledger import part_points, parts, verify
from steno.ledger.layout import Constants
from steno.record import Ref

SAME = Constants("p", "r", -5)


def some_points(rows: int, ranks: int, *, ordered: bool) -> part_points.PartPoints:
    random = np.random.default_rng(rows + ranks)
    width = 3
    step = np.arange(rows) if ordered else random.integers(0, rows, rows)
    return part_points.PartPoints(
        record=np.arange(rows),
        time=np.arange(rows) * 1000 + 10**18,
        step=step,
        rank=random.integers(0, ranks, rows).astype(np.int32),
        attempt=np.ones(rows, np.int32),
        batch=np.arange(rows) // 10,
        start=np.arange(rows) * width,
        width=np.full(rows, width),
        first=np.zeros(rows, np.int64),
        ranks=np.array([2, 0, 1], np.uint16),
        names=["a", "b/é", "c"],
        value=random.random(rows * width),
        special={1: 2**60, 5: "text", 7: Ref("ab", "image", {}), 8: 2**70},
        meta={2: '{"level":1}', rows - 1: '{"level":2}'},
    )


@pytest.mark.parametrize("rows", [4, 6000])
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_table_is_written_as_any_points(
    rows: int, ranks: int, ordered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = some_points(rows, ranks, ordered=ordered)
    monkeypatch.setattr(part_points, "GROUP_ROWS", 1 << 12)
    monkeypatch.setattr(part_points, "_STRETCH_ROWS", 1 << 10)
    parts.write_metrics(tmp_path / "table.parquet", points, {}, SAME)
    # The same key set, entered twice: no longer known for a table.
    twice = dataclasses.replace(
        points, ranks=np.tile(points.ranks, 2), first=np.where(np.arange(rows) % 2, 3, 0).astype(np.int64)
    )
    parts.write_metrics(tmp_path / "any.parquet", twice, {}, SAME)
    table, other = pq.read_table(tmp_path / "table.parquet"), pq.read_table(tmp_path / "any.parquet")
    assert table.to_pylist() == other.to_pylist()
    assert table["value"].null_count == 2
    assert table["exact"].drop_null().to_pylist() == [2**60]


def many_points(rows: int, value: np.ndarray | None = None) -> part_points.PartPoints:
    """Records of the keys "a" and "c"; "b" is in every 20th of them."""
    random = np.random.default_rng(rows)
    has_b = np.arange(rows) % 20 == 0
    width = np.where(has_b, 3, 2)
    points = int(width.sum())
    return part_points.PartPoints(
        record=np.arange(rows),
        time=np.arange(rows) * 1000 + 10**18,
        step=np.arange(rows),
        rank=np.zeros(rows, np.int32),
        attempt=np.ones(rows, np.int32),
        batch=np.arange(rows),
        start=np.cumsum(width) - width,
        width=width,
        first=np.where(has_b, 0, 3).astype(np.int64),
        ranks=np.array([0, 1, 2, 0, 2], np.uint16),
        names=["a", "b", "c"],
        value=random.random(points) if value is None else np.resize(value, points),
    )


@pytest.mark.parametrize("rows", [1 << 13, 20_000, 3 * (1 << 17)])
def test_a_key_with_many_rows_has_row_groups_of_its_own(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parts.write_metrics(path, many_points(rows), {}, SAME)
    footer = pq.read_metadata(path)
    groups = [footer.row_group(at) for at in range(footer.num_row_groups)]
    at = footer.schema.names.index("key")
    keys = [(one.column(at).statistics.min, one.column(at).statistics.max) for one in groups]
    assert all(low == high for low, high in keys)
    assert sorted({low for low, _ in keys}) == ["a", "b", "c"]
    assert max(one.num_rows for one in groups) <= part_points.GROUP_ROWS
    if rows > part_points.GROUP_ROWS:  # in pieces of one size, not a full one and a crumb
        sizes = {one.num_rows for one, (key, _) in zip(groups, keys, strict=True) if key == "a"}
        assert max(sizes) - min(sizes) <= 1
    table = pq.read_table(path)
    order = list(zip(table["key"].to_pylist(), table["step"].to_pylist(), strict=True))
    assert order == sorted(order)


def test_small_keys_share_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parts.write_metrics(path, many_points((1 << 13) - 1), {}, SAME)
    assert pq.read_metadata(path).num_row_groups == 1
    parts.write_metrics(path, some_points(1 << 13, 1, ordered=True), {}, SAME)
    assert pq.read_metadata(path).num_row_groups == 3


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (np.random.default_rng(0).random(10_000), "BYTE_STREAM_SPLIT"),
        (np.random.default_rng(0).random(10_000).round(3), "PLAIN"),
        (np.random.default_rng(0).standard_normal(10_000).astype(np.float32).astype(float), "BYTE_STREAM_SPLIT"),
    ],
)
def test_values_have_the_encoding_that_is_smaller(value: np.ndarray, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parts.write_metrics(path, many_points(20_000, value), {}, SAME)
    footer = pq.read_metadata(path)
    at = footer.schema.names.index("value")
    assert {encoding in footer.row_group(number).column(at).encodings for number in range(3)} == {True}


def test_a_row_group_is_checked_alone(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    parts.write_metrics(path, many_points(20_000), {}, SAME)
    crc, footer, sound = verify.checksum(path), pq.read_metadata(path), path.read_bytes()
    assert footer.num_row_groups == 3
    assert len(crc) < 100
    begins = [next(verify._chunks(footer.row_group(at)))[1] for at in range(3)]
    for at, begin in enumerate(begins):
        spoilt = bytearray(sound)
        spoilt[begin + 100] ^= 1
        path.write_bytes(spoilt)
        others = set(range(3)) - {at}
        assert verify.differing(path, crc, others) == []
        for groups in ({at}, None):
            ((low, high),) = verify.differing(path, crc, groups)
            assert low <= begin + 100 < high
            assert begin - 4 <= low
    for place in (len(sound) - 1, len(sound) - 6, len(sound) - 100):  # the footer concerns them all
        spoilt = bytearray(sound)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        assert verify.differing(path, crc, {0})
        assert verify.footer_of(path, verify.differing(path, crc, {0})) is None
    for other in (sound[:-1], sound + b"x", b"", sound[:100]):
        path.write_bytes(other)
        assert verify.differing(path, crc, {0})
    path.write_bytes(sound)
    assert verify.differing(path, crc) == []


def test_only_the_bytes_that_are_read_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "part.parquet"
    parts.write_metrics(path, many_points(100_000), {}, SAME)
    crc, read = verify.checksum(path), 0
    of_pieces = verify._crcs

    def counted(path, pieces):
        nonlocal read
        held = list(pieces)
        read += sum(end - begin for begin, end in held)
        return of_pieces(path, held)

    monkeypatch.setattr(verify, "_crcs", counted)
    assert verify.differing(path, crc, {1}) == []
    assert read < path.stat().st_size / 5


def test_what_no_frame_is_asked_of_imports_no_pandas(tmp_path: Path) -> None:
    """A third of a second, and 40 MiB for good: sealing, merging, a lost ledger, SQL, series and entries do without."""
    code = f"""
import importlib.util
import sys
sys.path[:0] = {[str(place) for place in Path(__file__).parents[:2]]!r}
import steno
from steno.ledger.seal import adopt_parts
from steno.ledger import schema
from store_runs import Writer
with Writer({str(tmp_path / "p" / "r")!r}) as writer:
    for turn in range(3):
        writer.log(*[(step, {{"a": 1.0, "t": "x"}}) for step in range(10)], entries=[("note", {{"n": 1}})])
        writer.seal()
    writer.finish()
adopt_parts(writer.run_dir, schema.begin({str(tmp_path / "other.sqlite")!r}, 0), 0)
with steno.open(writer.run_dir) as reader:
    assert len(reader.series("a")) == 30
    assert len(reader.records("note")) == 3
    assert reader.summary["a"]["count"] == 30
    assert reader.sql("select count(*) from metrics").fetchall() == [(60,)]
    assert len(list(reader.batches())) == 3
    assert len(reader.frame("a", as_="arrow")) == 10
    assert reader.verify() == ()
assert len(steno.sql("select * from metrics, records", [writer.run_dir]).fetchall()) == 180
assert importlib.util.find_spec("pandas")
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
