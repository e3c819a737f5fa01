"""Sealing: what was in the ledger is in parts, once, and a batch read from a part is the same batch."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from ledger_slices import HOLE, info, piece

from nodes import node_dir, part_name
from steno import files
from steno.ledger import opened, part_points, schema, seal
from steno.ledger.listed import found_parts
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.ledger.rebuild import part_took
from steno.ledger.seal import Sealer, adopt_parts
from steno.record import Ref, node_name


class Run:
    def __init__(self, path):
        self.dir = path
        node = node_dir(path, 0)
        node.mkdir(parents=True, exist_ok=True)
        self.path = node / "ledger.sqlite"
        self.connection = schema.begin(self.path, 0)
        self.poster = Poster(self.connection, 0)
        self.sealer = Sealer(path, self.connection, self.poster.lock, 0)
        self.reader = Reader(path)
        self.ends: dict[str, int] = {}

    def post(self, rows, stream="s", **more):
        start = self.ends.get(stream, 4096)
        self.ends[stream] = start + 10
        given = {name: more.pop(name) for name in ("rank", "attempt") if name in more}
        return self.poster.post([(info(stream, **given), piece(rows, start=start, end=start + 10, **more))])

    def points(self):
        """All (record, key, step, time, rank, attempt, value) as a reader sees them."""
        snapshot = self.reader.snapshot()
        out = []
        for part in snapshot.parts:
            if part.kind == "metrics":
                for row in pq.read_table(self.dir / part.name).to_pylist():
                    value = row["value"]
                    if row["ref"] is not None:
                        value = str(schema.read_ref(row["ref"]))
                    elif row["exact"] is not None:
                        value = row["exact"]
                    elif row["text"] is not None:
                        value = row["text"] if value is None else int(row["text"])
                    out.append(
                        (
                            row["record"],
                            row["key"],
                            row["step"],
                            int(row["time"].timestamp() * 10**6 + 0.5) * 1000,
                            row["rank"],
                            row["attempt"],
                            repr(value),
                        )
                    )
        for batch in snapshot.batches:
            for one in batch.records():
                out += [
                    (
                        one.record,
                        key,
                        one.step,
                        one.time,
                        one.rank,
                        one.attempt,
                        repr(str(value) if isinstance(value, Ref) else value),
                    )
                    for key, value in one.values.items()
                ]
        return sorted(out)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    run.connection.close()


def mixed(run, count=30, seed=1):
    """Batches with all there is: specials, ranks, steps out of order, late values, entries."""
    generator = random.Random(seed)
    odd = [
        1.5,
        float("nan"),
        float("inf"),
        -0.0,
        5e-324,
        2**63 - 1,
        -(2**63),
        2**63,
        2**200,
        "text",
        "",
        Ref("d1", "image", {"w": 3}),
        Ref("d2", "audio"),
    ]
    mono, seq, open_ = 0, 0, []
    batches = []
    for _ in range(count):
        rows = []
        for _ in range(generator.randrange(1, 8)):
            mono += 1
            seq += 1
            keys = generator.sample(["b", "a/ü", "c\n", "../d", "e" * 100], generator.randrange(1, 5))
            values = {key: generator.choice(odd) if generator.random() < 0.4 else generator.random() for key in keys}
            if generator.random() < 0.2:
                values["late"] = HOLE
                open_.append(seq)
            rows.append((mono, generator.choice([None, generator.randrange(-3, 20)]), values, seq))
        fills = [(open_.pop(0), {"late": generator.random()}) for _ in range(min(len(open_), generator.randrange(3)))]
        entries = (
            [(mono, 10**6 + mono, "event", {"name": "e", "nan": float("nan")})] if generator.random() < 0.3 else []
        )
        batches.append(
            run.post(
                rows,
                rank=generator.randrange(3),
                attempt=generator.randrange(1, 3),
                fills=fills,
                entries=entries,
                meta={0: {"level": 2}},
            )
        )
    return batches


def same(left, right):
    """Whether two batches say the same, record by record."""
    assert [repr(one) for one in left.records()] == [repr(one) for one in right.records()]
    assert repr(left.entries) == repr(right.entries)
    assert list(left.meta.values()) == list(right.meta.values())
    assert left.id == right.id
    assert left.value.dtype == right.value.dtype
    assert left.rank.dtype == right.rank.dtype


def test_a_batch_read_from_a_part_is_the_batch_that_was_posted(run):
    batches = mixed(run)
    before = run.points()
    from_ledger = [run.reader.batch(0, batch.id) for batch in batches]

    assert run.sealer.seal() == 30

    for posted, unsealed in zip(batches, from_ledger, strict=True):
        same(posted, unsealed)
        same(posted, run.reader.batch(0, posted.id))
    assert before == run.points()
    assert run.sealer.unsealed() == (0, 0, 0)
    assert run.reader.batch(0, 31) is None


def test_a_part_is_sorted_by_key_rank_attempt_and_step(run):
    mixed(run)
    run.sealer.seal()

    table = pq.read_table(next((run.dir / "metrics").iterdir())).to_pylist()

    order = [(row["key"].encode(), row["rank"], row["attempt"], row["step"]) for row in table]
    assert order == sorted(order)


def test_a_part_has_the_encodings_that_make_it_small(run):
    run.post([(i, i, {f"k{k}": random.random() for k in range(20)}) for i in range(5000)])
    run.sealer.seal()
    path = next((run.dir / "metrics").iterdir())

    group = pq.ParquetFile(path).metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}

    assert "BYTE_STREAM_SPLIT" in encodings["value"]
    assert all("DELTA_BINARY_PACKED" in encodings[name] for name in ("record", "step", "time", "batch"))
    assert path.stat().st_size / 100_000 < 10


def test_more_than_one_row_group_and_part(run, monkeypatch):
    monkeypatch.setattr(part_points, "GROUP_ROWS", 64)
    monkeypatch.setattr(seal, "PART_POINTS", 100)
    mixed(run, 60)
    before = run.points()
    run.post([(10**6 + i, i, {"one": 1.0, "two": 2.0}) for i in range(500)], stream="t")
    before = run.points()

    while run.sealer.seal():
        pass

    assert before == run.points()
    assert len(os.listdir(run.dir / "metrics")) > 3


def test_small_parts_are_merged_and_batches_survive_it(run):
    batches = []
    for seed in range(4):
        batches += mixed(run, 8, seed)
        run.sealer.seal()
    before = run.points()

    gone = run.sealer.merge()

    assert gone >= 7
    assert before == run.points()
    assert [len(os.listdir(run.dir / kind)) for kind in ("metrics", "records")] == [1, 1]
    for posted in batches:
        same(posted, run.reader.batch(0, posted.id))


def test_finishing_shrinks_the_ledger(run):
    for start in range(4):
        run.post([(start * 1000 + i, i, {f"k{k}": random.random() for k in range(100)}) for i in range(1000)])
    large = run.path.stat().st_size + os.path.getsize(f"{run.path}-wal")

    run.sealer.finish()
    schema.end(run.connection)

    assert large > 3_000_000
    assert run.path.stat().st_size < 200_000
    assert not os.path.exists(f"{run.path}-wal")


@pytest.mark.parametrize("where", ["after temporary", "after rename", "at commit"])
def test_a_death_while_sealing_loses_and_doubles_nothing(run, monkeypatch, where):
    mixed(run, 10)
    before = run.points()

    def die(*_):
        raise KeyboardInterrupt

    if where == "after temporary":
        monkeypatch.setattr(files, "rename_new", die)
    elif where == "after rename":
        monkeypatch.setattr(files, "sync_dir", die)
    else:
        monkeypatch.setattr(Sealer, "_commit", die)
    with pytest.raises(KeyboardInterrupt):
        run.sealer.seal()
    monkeypatch.undo()

    assert before == run.points()
    run.sealer.clean()
    assert os.listdir(run.dir / "metrics") == []
    run.sealer.seal()
    assert before == run.points()


def test_a_part_whose_sibling_could_not_be_written_does_not_stay(run):
    mixed(run, 10)
    before = run.points()
    (run.dir / "records").write_text("no directory")
    with pytest.raises(OSError, match="exists"):
        run.sealer.seal()

    assert os.listdir(run.dir / "metrics") == []
    (run.dir / "records").unlink()
    run.sealer.seal()
    assert before == run.points()
    assert len(list(found_parts(run.dir, 0))) == 2


def test_a_damaged_batch_is_counted_and_kept_aside_and_the_others_live(run):
    batches = [run.post([(i, i, {"a": float(i)})]) for i in range(3)]
    blob = bytearray(run.connection.execute("select columns from batches where id=2").fetchone()[0])
    blob[30] ^= 0x10
    run.connection.execute("update batches set columns=? where id=2", (bytes(blob),))

    unsealed = run.reader.snapshot()
    run.sealer.seal()
    sealed = run.reader.snapshot()

    assert [batch.id for batch in unsealed.batches] == [1, 3]
    for snapshot in (unsealed, sealed):
        assert [(loss.kind, loss.name) for loss in snapshot.losses] == [("damaged batch", "2")]
    assert [batches[0].record[0], batches[2].record[0]] == pq.read_table(run.dir / sealed.parts[0].name)[
        "record"
    ].to_pylist()
    assert bytes(blob) == (run.dir / ".steno" / "poison" / f"{node_name(0)}-batch-2.blob").read_bytes()


def test_a_lost_ledger_is_begun_again_behind_the_highest_sealed_record(run):
    mixed(run, 10)
    run.sealer.seal()
    before = run.points()
    last = run.poster.next_record - 1
    run.connection.close()
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(f"{run.path}{suffix}"):
            os.unlink(f"{run.path}{suffix}")

    again = Run(run.dir)
    adopted = adopt_parts(run.dir, again.connection, 0)
    again.poster.reload()
    again.ends = {"s": again.poster.posted("s", 0)}
    batch = again.post([(10**7, None, {"new": 1.0})])

    assert adopted == 2
    assert again.ends["s"] - 10 == 4096 + 100
    assert last + 1 == batch.record[0]
    assert batch.id == 11
    assert [row for row in again.points() if row[1] != "new"] == before
    assert max(row[2] for row in before) < batch.step[0]
    again.connection.close()


def test_a_run_without_a_ledger_is_read_from_its_parts_or_manifest(run):
    from steno.ledger import manifest

    mixed(run, 5)
    run.sealer.finish()
    before = run.points()
    manifest.write(run.dir, run.path.parent)
    by_ledger = run.reader.snapshot(batches=False)
    run.connection.close()
    shutil.rmtree(run.dir / ".steno")

    by_manifest = Reader(run.dir).snapshot()
    (run.dir / "manifest.json").unlink()
    by_footer = Reader(run.dir).snapshot()

    assert by_ledger.parts == by_manifest.parts
    assert by_ledger.streams == by_manifest.streams
    assert {part.name for part in by_footer.parts} == {part.name for part in by_manifest.parts}
    assert sorted(found_parts(run.dir), key=lambda part: part.name) == sorted(
        by_footer.parts, key=lambda part: part.name
    )
    run.connection = sqlite3.connect(":memory:")
    assert before == run.points()


@pytest.mark.parametrize("state", ["live", "crashed", "ended", "closed", "wal without shm"])
def test_a_reader_leaves_no_file_behind(tmp_path, state):
    run = Run(tmp_path / "run")
    mixed(run, 5)
    before = run.points()
    if state == "ended":
        schema.end(run.connection)
    elif state == "closed":
        run.connection.close()  # as after an error: no -wal is left, and the ledger is still one that has them
    elif state != "live":
        copy = tmp_path / "copy"
        shutil.copytree(run.dir, copy)
        run.connection.close()
        shutil.rmtree(run.dir)
        shutil.copytree(copy, run.dir)
        if state == "wal without shm":
            os.unlink(f"{run.path}-shm")
    files = {path: path.stat().st_mtime_ns for path in run.dir.rglob("*") if not path.name.endswith("-shm")}

    assert before == run.points()
    assert run.reader.batch(0, 3) is not None

    assert files == {path: path.stat().st_mtime_ns for path in run.dir.rglob("*") if not path.name.endswith("-shm")}
    run.connection.close()


def test_a_reader_in_a_read_only_place_reads(tmp_path):
    run = Run(tmp_path / "run")
    mixed(run, 5)
    before = run.points()
    schema.end(run.connection)
    for path in [run.dir, *run.dir.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    assert before == run.points()

    for path in [run.dir, *run.dir.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_readers_race_posting_sealing_and_merging(run, monkeypatch):
    """Every snapshot has each point once, and never fewer than the one before."""
    monkeypatch.setattr(seal, "PART_POINTS", 300)
    stop, errors, seen = threading.Event(), [], []

    def read():
        reader, last = Reader(run.dir), 0
        while not stop.is_set():
            try:
                snapshot = reader.snapshot()
                tables = [
                    pq.read_table(run.dir / part.name, columns=["record"])
                    for part in snapshot.parts
                    if part.kind == "metrics"
                ]
            except FileNotFoundError:
                continue  # merged: start over
            except Exception as error:
                errors.append(error)
                return
            records = np.concatenate(
                [
                    np.empty(0, np.int64),
                    *(table["record"].to_numpy() for table in tables),
                    *(batch.record for batch in snapshot.batches),
                ]
            )
            if (
                len(np.unique(records)) != len(records)
                or len(records) < last
                or (len(records) and records.max() != len(records))
            ):
                errors.append(
                    AssertionError(f"{len(records)} points, {len(np.unique(records))} records, before {last}")
                )
                return
            last = len(records)
            seen.append(last)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    mono, deadline = 0, time.monotonic() + 2
    while time.monotonic() < deadline and not errors:
        run.post([(mono + i, mono + i, {"a": float(mono + i)}) for i in range(37)])
        mono += 37
        if mono % (37 * 7) == 0:
            run.sealer.seal()
        if mono % (37 * 40) == 0:
            run.sealer.merge()
    stop.set()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(set(seen)) > 5


def test_few_wide_key_sets_share_a_part_and_a_storm_of_keys_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "_PART_NAMES", 100)
    wide, storm = Run(tmp_path / "wide"), Run(tmp_path / "storm")
    for at in range(20):
        wide.post([(at, at, {f"k{key}": 1.0 for key in range(60)})])
        storm.post([(at, at, {f"k{at}/{key}": 1.0 for key in range(60)})])

    assert wide.sealer.seal() == 20
    assert [storm.sealer.seal() for _ in range(21)] == [1] * 20 + [0]
    assert len(wide.points()) == len(storm.points()) == 1200


def lose(run):
    """The ledger is gone; what a collector begins in its place."""
    run.connection.close()
    for suffix in ("", "-wal", "-shm"):
        run.path.with_name(run.path.name + suffix).unlink(missing_ok=True)
    again = Run(run.dir)
    adopt_parts(run.dir, again.connection, 0)
    again.poster.reload()
    return again


@pytest.mark.parametrize("gone", [(), (1,), (1, 2)], ids=str)
def test_after_a_lost_ledger_a_quiet_stream_is_not_posted_twice(run, gone):
    """The newest part tells what all older ones took, also where these are gone or had nothing to be written."""
    run.post([(1, 1, {"quiet": 1.0})], stream="quiet")
    run.sealer.seal()
    for turn in range(2):
        run.post([(10 + turn, 2, {"busy": 1.0})], stream="busy")
        run.sealer.seal()
    for id in gone:
        (run.dir / part_name(run.dir, id)).unlink()

    again = lose(run)

    assert again.poster.posted("quiet", 0) == 4096 + 10
    assert again.poster.posted("busy", 0) == 4096 + 20
    again.post([(1, 1, {"quiet": 1.0})], stream="quiet")  # what its journal still has, read from its beginning
    assert [row[1] for row in again.points() if row[1] == "quiet"] == ["quiet"] * (1 not in gone)
    again.connection.close()


def test_what_older_parts_took_is_kept_through_two_lost_ledgers_and_as_long_as_the_segment_is_there(run):
    run.post([(1, 1, {"quiet": 1.0})], stream="quiet")
    run.sealer.seal()
    again = lose(run)
    again.post([(2, 2, {"busy": 1.0})], stream="busy")
    again.sealer.seal()
    (run.dir / part_name(run.dir)).unlink()

    once_more = lose(again)

    assert once_more.poster.posted("quiet", 0) == 4096 + 10
    once_more.poster.forget_segments([("quiet", 0)])
    once_more.post([(3, 3, {"other": 1.0})], stream="other")
    once_more.sealer.seal()
    assert {stream for stream, _, _ in part_took(max((run.dir / "metrics").iterdir()))} == {"busy", "other"}
    once_more.connection.close()


@pytest.mark.parametrize("again", [False, True], ids=["the same collector", "the next one"])
def test_no_key_gets_the_id_of_another_after_the_end(run, again):
    """A reader remembers names by their ids: it has seen the run before it ended, and looks again when it goes on."""
    run.post([(i, i, {"loss": 1.0, "accuracy": 2.0, f"k{i}": 3.0}) for i in range(3)])
    seen = {row[1] for row in run.points()}
    for at in (1, 2):
        run.sealer.finish()
        if again:
            run.connection.close()
            run.connection = schema.begin(run.path, 0)
            run.poster = Poster(run.connection, 0)
            run.sealer = Sealer(run.dir, run.connection, run.poster.lock, 0)
        else:
            run.poster.reload()
        run.post([(10 * at, 10 * at, {f"new{at}": 4.0, "accuracy": 5.0})])
        seen |= {f"new{at}"}

        assert {row[1] for row in run.points()} == seen
        assert {row[1] for row in run.points() if row[2] == 10 * at} == {f"new{at}", "accuracy"}


def test_a_reader_that_opens_a_ledger_as_a_collector_comes_sees_what_it_posts(run, monkeypatch):
    """Nobody has it open: SQLite is told that it does not change. So it is asked again whether somebody came."""
    run.post([(1, 1, {"x": 1.0})])
    run.connection.close()
    real, opens = opened._connect, []

    def connect(path, mode):
        connection = real(path, mode)
        opens.append(mode)
        if len(opens) == 1:
            run.connection = schema.begin(run.path, 0)
            run.poster = Poster(run.connection, 0)
            run.post([(2, 2, {"x": 2.0})])
        return connection

    monkeypatch.setattr(opened, "_connect", connect)
    with opened.opened(run.path) as connection:
        assert connection.execute("select count(*) from batches").fetchone()[0] == 2
    assert ["immutable" in mode for mode in opens] == [True, False]


def test_a_part_takes_no_other_ones_name(run, monkeypatch):
    """Somebody made a file of that name between the look and the rename."""
    mixed(run, 10)
    before, name = run.points(), part_name(run.dir)

    def taken(*arguments):
        (run.dir / name).write_bytes(b"another node's")
        return noted(*arguments)

    noted = seal.verify.note
    monkeypatch.setattr(seal.verify, "note", taken)
    with pytest.raises(FileExistsError):
        run.sealer.seal()
    monkeypatch.undo()
    assert (run.dir / name).read_bytes() == b"another node's"
    assert before == run.points()
    run.sealer.seal()
    assert (run.dir / name).read_bytes() == b"another node's"
    assert before == run.points()
    assert [part.name for part in run.reader.snapshot().parts if part.kind == "metrics"] == [part_name(run.dir, 2)]
