"""Parts with flipped bits: what is read was logged, what is not read is counted, and nothing is merged or copied on."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sqlite3
import threading
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_runs import Writer, listing

import steno
from steno.examine import examine
from steno.ledger import manifest, part_points, schema, verify
from steno.ledger.listed import found_parts
from steno.ledger.read import Reader
from steno.ledger.seal import Sealer, adopt_parts
from steno.store import image
from steno.store.reader import RunReader

STEPS, KEYS = 4_000, ("a", "b", "c")


def value(key: str, step: int) -> float:
    return step * 0.7 + ord(key)


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """One sealed part of twelve row groups, with values that all differ."""
    monkeypatch.setattr(part_points, "GROUP_ROWS", 1_000)
    with Writer(tmp_path / "p" / "hurt") as made:
        made.log(*[(step, {key: value(key, step) for key in KEYS}) for step in range(STEPS)])
        made.seal()
        yield made


def part_of(run_dir: Path) -> Path:
    (found,) = (run_dir / "metrics").glob("*.parquet")
    return found


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_group(path: Path, number: int, column: str) -> None:
    """A bit in the middle of a column of a row group."""
    import pyarrow.parquet as pq

    group = pq.read_metadata(path).row_group(number)
    chosen = next(one for one in verify._chunks(group) if one[0] == column)
    flip(path, 8 * (chosen[1] + chosen[2] // 2))


def points(book: RunReader) -> list[tuple[str, int, float]]:
    return book.sql("select key, step, value from metrics_all").fetchall()


def test_no_flipped_bit_makes_a_value_that_was_not_logged(writer):
    path = part_of(writer.run_dir)
    sound = path.read_bytes()
    rng = random.Random(3)
    everything = {(key, step, value(key, step)) for key in KEYS for step in range(STEPS)}
    kept = []
    # The last ones are in the footer.
    bits = [rng.randrange(8 * len(sound)) for _ in range(14)] + [8 * len(sound) - 8 * at for at in (3, 7, 40, 900)]
    for bit in bits:
        flip(path, bit)
        with RunReader(writer.run_dir) as book, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = points(book)
            (loss,) = book.info.losses
            series = book.series("b")
        assert set(found) <= everything
        assert len(found) == len(set(found)) == len(everything) - loss.count
        assert (loss.kind, loss.name) == ("damaged part", f"metrics/{path.name}")
        assert bool(loss.bytes) == bool(loss.count)
        assert loss.bytes <= len(sound)
        assert [one.message.args[0] for one in said if path.name in str(one.message)]
        assert {("b", step, number) for step, number in zip(series.step, series.value, strict=True)} <= everything
        kept.append(len(found))
        path.write_bytes(sound)
    assert sum(kept) > 0.3 * len(bits) * len(everything)
    assert min(kept) == 0


def test_a_flipped_bit_costs_its_row_group_and_its_neighbours_stay(writer):
    path = part_of(writer.run_dir)
    flip_group(path, 1, "value")
    with RunReader(writer.run_dir) as book:
        with pytest.warns(RuntimeWarning, match="1,000 rows"):
            series = book.series("a")
        assert series.step.tolist() == [*range(1_000), *range(2_000, STEPS)]
        assert series.value.tolist() == [value("a", step) for step in series.step.tolist()]
        assert len(book.series("b")) == len(book.series("c")) == STEPS
        assert book.summary["a"]["count"] == 3_000
        (loss,) = book.info.losses
        assert loss.count == 1_000
        assert 1_000 < loss.bytes < path.stat().st_size / 6
        assert list(book.info.unreadable) == [str(path)]


def test_lost_notes_leave_the_points(writer):
    path = part_of(writer.run_dir)
    import pyarrow.parquet as pq

    name, start, size = next(one for one in verify._chunks(pq.read_metadata(path).row_group(3)) if one[0] == "meta")
    copy = path.with_name(".copy.parquet")
    damage = verify.salvage(path, [(start, start + size)], copy)
    assert (name, damage.rows, damage.bytes, damage.kept) == ("meta", 0, size, STEPS * len(KEYS))
    assert pq.read_table(copy).num_rows == STEPS * len(KEYS)


@pytest.mark.parametrize("harm", ["shorter", "longer", "empty"])
def test_a_part_of_another_length_is_damaged(writer, harm):
    path = part_of(writer.run_dir)
    data = path.read_bytes()
    path.write_bytes({"shorter": data[:-100], "longer": data + b"PAR1", "empty": b""}[harm])
    with RunReader(writer.run_dir) as book:
        with pytest.warns(RuntimeWarning, match="damaged and left out"):
            assert not len(book.series("a"))
        assert [loss.count for loss in book.info.losses] == [STEPS * len(KEYS)]


def test_a_part_is_compared_once_and_again_when_it_is_replaced(writer, monkeypatch):
    path = part_of(writer.run_dir)
    sound = path.read_bytes()
    compared, groups = [], []
    differing, table = verify.differing, image.PartImage.table
    monkeypatch.setattr(verify, "differing", lambda *some: compared.append(some[2:]) or differing(*some))
    monkeypatch.setattr(
        image.PartImage, "table", lambda self, some, *more: groups.extend(some) or table(self, some, *more)
    )
    with RunReader(writer.run_dir) as book:
        for key in KEYS:
            assert len(book.series(key)) == STEPS
        # What is read is compared, and nothing else.
        assert groups == list(range(12))
        for _ in range(2):
            assert book.sql("select count(*) from metrics").fetchall() == [(STEPS * len(KEYS),)]
        assert len(compared) == 1
        flip_group(path, 0, "value")
        with pytest.warns(RuntimeWarning, match="damaged"):
            assert len(book.series("a")) == STEPS - 1_000
        assert book.verify()
        path.write_bytes(sound)
        os.utime(path, ns=(1, 1))
        assert len(book.series("a")) == STEPS
        assert book.verify() == ()
        before = len(compared)
        assert book.verify() == ()
        assert len(book.series("b")) == STEPS
        assert len(compared) == before


def test_a_key_is_read_though_another_ones_row_group_is_damaged(writer):
    path = part_of(writer.run_dir)
    flip_group(path, 9, "value")  # of the key c
    with RunReader(writer.run_dir) as book:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(book.series("a")) == len(book.series("b")) == STEPS
            assert book.info.losses == ()
        with pytest.warns(RuntimeWarning, match="1,000 rows"):
            assert len(book.series("c")) == STEPS - 1_000
        assert [loss.count for loss in book.info.losses] == [1_000]
        assert len(book.series("a")) == STEPS


def test_a_series_reads_the_footer_and_its_own_row_groups(writer, monkeypatch):
    path = part_of(writer.run_dir)
    read = []
    fill = image.FileBytes.read
    monkeypatch.setattr(image, "WHOLE_BYTES", 20_000)
    monkeypatch.setattr(image.FileBytes, "read", lambda self, some, into: read.extend(some) or fill(self, some, into))
    with RunReader(writer.run_dir) as book:
        for _ in range(2):
            before = len(read)
            assert len(book.series("a")) == STEPS
            size = path.stat().st_size
            assert any(end == size for _, end in read)
            assert sum(end - start for start, end in read[before:] if end < size) < size / 3


def test_a_part_whose_keys_are_no_texts_is_said_to_be_none_of_ours(writer):
    path = part_of(writer.run_dir)
    table = pq.read_table(path)
    key = table.column_names.index("key")
    pq.write_table(table.set_column(key, "key", table["key"].cast(pa.binary())), path)
    crc, size = verify.checksum(path), path.stat().st_size
    writer.connection.execute("update parts set crc = ?, bytes = ?", (crc, size))
    asked = [
        lambda: book.series("a"), lambda: book.frame(["a", "b"]), lambda: book.series("a", points=10),
        lambda: book.sql("select * from metrics").fetchall(), lambda: steno.bins("a", writer.run_dir),
    ]  # fmt: skip
    for ask in asked:
        with RunReader(writer.run_dir) as book:
            with pytest.warns(RuntimeWarning, match=r"the keys in .*\.parquet are no texts: steno has not written it"):
                assert len(ask()) == 0
            if ask is not asked[-1]:
                assert [loss.count for loss in book.info.losses] == [STEPS * len(KEYS)]


def test_copies_of_what_is_good_go_with_the_book(writer, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    flip_group(part_of(writer.run_dir), 0, "value")
    before = listing(writer.run_dir)
    book = RunReader(writer.run_dir)
    with pytest.warns(RuntimeWarning, match="damaged"):
        book.series("a")
    assert list(place.glob("steno-salvaged-*/*"))
    child = os.fork()
    if not child:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = len(book.keys())  # makes an engine of the child's own and drops the parent's
        book.close()
        gc.collect()
        os._exit(0 if read == len(KEYS) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert list(place.glob("steno-salvaged-*/*"))
    del book
    gc.collect()
    assert not list(place.glob("steno-salvaged-*"))
    assert listing(writer.run_dir) == before


def test_a_follower_gets_what_is_good_of_a_damaged_part(writer):
    whole = {
        (one.record, key): x for one in Reader(writer.run_dir).batch(0, 1).records() for key, x in one.values.items()
    }
    flip_group(part_of(writer.run_dir), 1, "value")
    with pytest.warns(RuntimeWarning, match="1,000 rows"):
        batch = Reader(writer.run_dir).batch(0, 1)
    left = {(one.record, key): x for one in batch.records() for key, x in one.values.items()}
    assert len(whole) - len(left) == 1_000
    assert left.items() <= whole.items()
    flip(part_of(writer.run_dir), 8 * (part_of(writer.run_dir).stat().st_size - 50))
    with pytest.warns(RuntimeWarning, match="its footer"):
        batch = Reader(writer.run_dir).batch(0, 1)
    assert (len(batch), batch.entries) == (0, ())


def test_a_damaged_part_is_not_merged(writer):
    for start in (STEPS, STEPS + 1, STEPS + 2, STEPS + 3):
        writer.log((start, {"a": 1.0}))
        writer.seal()
    hurt = sorted((writer.run_dir / "metrics").glob("*.parquet"))[2]
    flip(hurt, 8 * 6)
    damaged = hurt.read_bytes()
    assert writer.sealer.merge() == 4
    assert hurt.read_bytes() == damaged
    with RunReader(writer.run_dir) as book:
        with pytest.warns(RuntimeWarning, match=hurt.name):
            assert len(book.series("a")) == STEPS + 3
        assert [loss.count for loss in book.info.losses] == [1]


@pytest.mark.parametrize("where", ["pages", "footer"])
def test_a_lost_ledger_takes_no_checksum_with_it(writer, where):
    path = part_of(writer.run_dir)
    writer.log((STEPS, {"a": 1.0}))
    writer.seal()
    known = sorted(found_parts(writer.run_dir), key=lambda one: one.id)
    writer.connection.close()
    for name in writer.ledger.parent.glob(f"{writer.ledger.name}*"):
        name.unlink()
    flip(path, 8 * (path.stat().st_size - 60 if where == "footer" else 500))
    with RunReader(writer.run_dir) as book, pytest.warns(RuntimeWarning, match="damaged"):
        without = len(book.series("a"))
    again = schema.begin(writer.ledger, 0)
    try:
        assert adopt_parts(writer.run_dir, again, 0) == 2
        snapshot = Reader(writer.run_dir).snapshot()
        assert [(one.name, one.crc, one.rows) for one in snapshot.parts] == [(o.name, o.crc, o.rows) for o in known]
        Sealer(writer.run_dir, again, threading.RLock(), 0).clean()
        took = json.loads(again.execute("select value from meta where key='took'").fetchone()[0])
        assert took == [["host-0-0-1", 0, writer.ends["host-0-0-1"]]]
        with RunReader(writer.run_dir) as book, pytest.warns(RuntimeWarning, match="damaged"):
            assert len(book.series("a")) == without == (1 if where == "footer" else STEPS - 999)
    finally:
        again.close()


def test_a_torn_note_spoils_no_other(tmp_path):
    good = {"name": "metrics/x", "crc": "0:", "took": []}
    verify.note(tmp_path, good)
    with open(tmp_path / verify.NOTED, "ab") as file:
        file.write(b'\n{"name": "metr')
    verify.note(tmp_path, {**good, "name": "metrics/y"})
    assert list(verify.noted(tmp_path)) == ["metrics/x", "metrics/y"]


def test_a_copy_with_its_manifest_knows_of_damage_and_one_without_is_read_as_it_is(writer):
    writer.sealer.finish()
    manifest.write(writer.run_dir, writer.ledger.parent)
    copy = writer.run_dir.parent / "copy"
    shutil.copytree(writer.run_dir, copy)
    shutil.rmtree(copy / ".steno")
    flip_group(part_of(copy), 1, "value")
    with RunReader(copy) as book, pytest.warns(RuntimeWarning, match="damaged"):
        assert len(book.series("a")) == STEPS - 1_000
    (copy / "manifest.json").unlink()
    with RunReader(copy) as book:
        assert book.verify() == ()
        assert len(book.keys()) == 3


def test_an_older_ledger_is_read_and_gets_checksums_from_then_on(writer):
    writer.connection.execute("alter table parts drop column crc")
    (writer.ledger.parent / verify.NOTED).unlink()
    with RunReader(writer.run_dir) as book:
        assert len(book.series("a")) == STEPS
        assert book.verify() == ()
    assert Reader(writer.run_dir).batch(0, 1).id == 1
    writer.close()
    writer.connection = schema.begin(writer.ledger, 0)
    writer.sealer.connection = writer.connection
    writer.poster.connection = writer.connection
    writer.log((STEPS, {"a": 1.0}))
    writer.seal()
    old, new = Reader(writer.run_dir).snapshot().parts
    assert old.crc is None
    assert new.crc == verify.checksum(writer.run_dir / new.name)


def test_the_doctor_counts_what_a_damaged_part_has_lost(writer):
    flip_group(part_of(writer.run_dir), 1, "value")
    report = examine(writer.run_dir)
    (loss,) = report.losses
    assert (loss["kind"], loss["count"]) == ("damaged part", 1_000)
    assert loss["bytes"] > 1_000
    assert any("put an intact copy in its place" in line for line in report.advice)


def test_a_key_id_is_never_given_to_another_key(tmp_path):
    with Writer(tmp_path / "p" / "on") as writer:
        reader = Reader(writer.run_dir)
        writer.log((0, {"first": 1.0, "second": 2.0}))
        assert [one.sets for one in reader.snapshot().batches] == [(("first", "second"),)]
        writer.finish()
        with Writer(writer.run_dir) as later:
            later.ends, later.mono = writer.ends, writer.mono
            later.log((1, {"third": 3.0, "first": 4.0}))
            assert [dict(one.values) for one in reader.batch(0, 2).records()] == [{"first": 4.0, "third": 3.0}]
            (batch,) = reader.snapshot(since={0: 1}).batches
            assert [dict(one.values) for one in batch.records()] == [{"first": 4.0, "third": 3.0}]
            assert later.connection.execute("select count(*) from keys").fetchone()[0] <= 3


def test_the_manifest_says_what_was_rewound(tmp_path):
    run_dir = tmp_path / "p" / "wound"
    with Writer(run_dir) as writer:
        writer.attempt(1)
        writer.log(*[(step, {"x": 1.0}) for step in range(10)])
        writer.attempt(2, rewind=4)
        writer.log((4, {"x": 2.0}), attempt=2)
        writer.sealer.finish()
        manifest.write(run_dir, writer.ledger.parent)
        written = json.loads((run_dir / "manifest.json").read_text())["attempts"]
        assert [(one["attempt"], one["rewind"]) for one in written] == [(1, None), (2, 4)]
        assert all(one["started"] for one in written)
    shutil.rmtree(run_dir / ".steno")
    with RunReader(run_dir) as book:
        assert book.series("x").value.tolist() == [1.0] * 4 + [2.0]
        assert [(one.attempt, one.rewind) for one in book.info.attempts] == [(1, None), (2, 4)]


def test_a_rewind_that_the_manifest_lacks_is_told_by_the_entries(tmp_path):
    run_dir = tmp_path / "p" / "wound"
    with Writer(run_dir) as writer:
        writer.log(*[(step, {"x": 1.0}) for step in range(10)], entries=[("start", {"pid": 1})])
        writer.log((4, {"x": 2.0}), attempt=2, entries=[("start", {"pid": 2, "rewind": 4})])
        writer.sealer.finish()
        manifest.write(run_dir, writer.ledger.parent)
    shutil.rmtree(run_dir / ".steno")
    with RunReader(run_dir) as book:
        assert book.series("x").value.tolist() == [1.0] * 4 + [2.0]


def test_a_checksum_tells_where(tmp_path):
    path = tmp_path / "some"
    path.write_bytes(random.Random(0).randbytes(100_000))
    crc = verify.checksum(path)
    assert verify.differing(path, crc) == []
    flip(path, 8 * 50_000)
    ((low, high),) = verify.differing(path, crc)
    assert low <= 50_000 < high <= low + 1_600
    path.unlink()
    with pytest.raises(FileNotFoundError):
        verify.differing(path, crc)


def test_a_sealed_part_has_its_checksum_in_the_ledger(writer):
    connection = sqlite3.connect(writer.ledger)
    found = connection.execute("select name, crc from parts").fetchall()
    connection.close()
    assert found == [(f"metrics/{part_of(writer.run_dir).name}", verify.checksum(part_of(writer.run_dir)))]


def test_a_flipped_bit_costs_its_row_group_alone_wherever_it_is(tmp_path):
    """In the header of a page too, which is looked at before anything is unfolded."""
    path = tmp_path / "part.parquet"
    rows, groups = 30_000, 3
    table = pa.table({"x": np.arange(rows, dtype=np.float64), "meta": pa.array([None] * rows, pa.string())})
    pq.write_table(table, path, row_group_size=rows // groups)
    crc, sound, footer = verify.checksum(path), path.read_bytes(), pq.read_metadata(path)
    for group in range(groups):
        for column, lost in (("x", rows // groups), ("meta", 0)):
            chunk = footer.row_group(group).column(0 if column == "x" else 1)
            begin = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
            for place in (begin, begin + 1, begin + 3, begin + chunk.total_compressed_size - 1):
                spoilt = bytearray(sound)
                spoilt[place] ^= 0x55
                path.write_bytes(spoilt)
                bad = verify.differing(path, crc)
                damage = verify.salvage(path, bad, tmp_path / "copy.parquet")
                assert (damage.rows, damage.kept) == (lost, rows - lost), (group, column, place - begin)
