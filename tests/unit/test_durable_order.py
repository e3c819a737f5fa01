"""The order of durable writes: what must be on the disk before something else is taken away."""

from __future__ import annotations

import json

import numpy as np
import pytest
from journal_language import Book
from ledger_slices import info, piece

import steno
from durable_recorder import ALL, Recorder, drawn
from nodes import node_dir
from steno import files
from steno.collector.durable import Syncer
from steno.collector.journals import JournalReader
from steno.collector.reading import Marker
from steno.journal import place
from steno.ledger import bins_format, bins_name, bins_part, bins_rebuild, manifest, schema, streams
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.ledger.seal import Sealer
from steno.record import node_name

PART = f"{node_name(0)}-part"
EVERY = [*ALL, *map(drawn, range(3))]


class Run:
    """A run's ledger and what is about it, opened as a collector does."""

    def __init__(self, path):
        self.dir = path
        self.node = node_dir(path, 0)
        self.node.mkdir(parents=True, exist_ok=True)
        self.ledger = self.node / place.LEDGER
        self.connection = schema.begin(self.ledger, 0)
        self.poster = Poster(self.connection, 0)
        self.sealer = Sealer(path, self.connection, self.poster.lock, 0)
        self.sealer.clean()
        self.syncer = Syncer(self.ledger, lambda: self.poster.generation, lambda: None, lambda key, text: None)

    def post(self, first, count):
        rows = [(i, i, {"x": float(i), "word": str(i)}, [i]) for i in range(first, first + count)]
        self.poster.post([(info(), piece(rows, start=4096 + first, end=4096 + first + count))])

    def values(self):
        """The value of each record of "x", wherever it lies."""
        return sorted(steno.open(self.dir).series("x").value.tolist())

    def close(self):
        self.connection.close()


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "before")
    yield run
    run.close()


def after_each(recorder, tmp_path, losses=EVERY):
    """The run as each power loss leaves it, opened again."""
    for number, (step, loss) in enumerate(recorder.states(losses)):
        run = Run(recorder.power_loss(step, tmp_path / f"after-{number}", loss))
        try:
            yield step, loss, run
        finally:
            run.close()
            files.remove_tree(run.dir)


# -- sealing ----------------------------------------------------------------------------------------------


def test_a_part_is_on_the_disk_with_its_name_before_its_batches_leave_the_ledger(run, tmp_path):
    for first in (0, 100):
        run.post(first, 100)
    run.syncer.sync()
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        assert run.sealer.seal() == 2
        run.syncer.sync()
    written = recorder.index(f"fsync metrics/.{PART}-000001.parquet.tmp")
    named = recorder.index(f"link metrics/.{PART}-*.tmp -> metrics/{PART}-000001.parquet", written)
    recorder.index("fsync metrics", named)
    for step, loss, after in after_each(recorder, tmp_path):
        assert after.values() == [float(i) for i in range(200)], (step, loss)


def bins_of(run):
    """By part, whether its bins lie beside it; those that do are the points'."""
    found = {}
    for part in Reader(run.dir).snapshot().parts:
        path, of = run.dir / part.name, bins_format.identity(part.bytes, part.rows, part.node, part.crc)
        if part.kind == "metrics":
            found[part.name] = bins_part.is_there(path, of)
            if found[part.name]:
                names, *levels = bins_rebuild.rebuilt(path).levels()
                head, *kept = bins_format.read_all((run.dir / bins_name.name_of(part.name)).read_bytes())
                assert [head.name(at).decode() for at in range(len(head))] == names == ["word", "x"]
                for one, other in zip(kept, levels, strict=True):
                    assert one.start.tolist() == other.start.tolist()
                    assert one.last.record.tolist() == other.last.record.tolist()
                    np.testing.assert_array_equal(one.max.value, other.max.value)
    return found


def test_bins_are_those_of_their_part_or_made_anew_whatever_a_power_loss_leaves(run, tmp_path):
    for first in (0, 2000):
        run.post(first, 2000)
        run.sealer.seal()
    run.post(4000, 2000)
    run.syncer.sync()
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        run.sealer.finish()
    assert bins_of(run) == {f"metrics/{PART}-000004.parquet": True}
    assert [path.name for path in (run.dir / "metrics").iterdir() if path.suffix == ".bins"] == [f"{PART}-000004.bins"]
    missing = 0
    for step, loss, after in after_each(recorder, tmp_path):
        missing += not all(bins_of(after).values())
        assert after.values() == [float(i) for i in range(6000)], (step, loss)
        after.sealer.finish()
        assert bins_of(after) == dict.fromkeys(bins_of(after), True), (step, loss)
        beside = {path.stem for path in (after.dir / "metrics").iterdir()}
        listed = {part.name[8:-8] for part in Reader(after.dir).snapshot().parts if part.kind == "metrics"}
        assert beside == listed, (step, loss)
    assert missing, "bins are not synced, so a power loss takes some"


def test_parts_that_were_merged_go_once_the_ledger_lists_the_merged_one_for_good(run, tmp_path):
    for first in (0, 100, 200):
        run.post(first, 100)
        run.sealer.seal()
    run.syncer.sync()
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        run.sealer.finish()
    assert len(Reader(run.dir).snapshot().parts) == 1
    merged = recorder.index(f"link metrics/.{PART}-*.tmp -> metrics/{PART}-000004.parquet")
    recorder.index(f"unlink metrics/{PART}-000001.parquet", recorder.index("fsync *-wal", merged))
    for step, loss, after in after_each(recorder, tmp_path):
        assert after.values() == [float(i) for i in range(300)], (step, loss)


@pytest.mark.parametrize("broken", ["sync_file", "sync_dir", "_sync"])
def test_the_recorder_sees_a_sync_that_is_left_out(run, tmp_path, monkeypatch, broken):
    """Without any one of them a power loss takes points."""
    for first in (0, 100):
        run.post(first, 100)
        if broken == "_sync":
            run.sealer.seal()
    run.syncer.sync()
    monkeypatch.setattr(Sealer if broken == "_sync" else files, broken, lambda *_: None)
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        run.sealer.finish()
    monkeypatch.undo()
    lost = []
    for step, loss, after in after_each(recorder, tmp_path, ALL):
        try:
            if after.values() != [float(i) for i in range(200)]:
                lost.append((step, loss))
        except (steno.CorruptError, steno.UsageError, RuntimeWarning) as error:
            lost.append((step, loss, error))
    assert lost


# -- journals ---------------------------------------------------------------------------------------------


class Posting:
    """Posts one journal whose writer is gone, step by step as the collector's loop does."""

    def __init__(self, run, stream="s"):
        self.run = run
        self.journal = JournalReader(
            streams.FoundJournal(stream, run.dir / ".steno" / "journal" / stream),
            run.poster,
            Marker(run.node / "reading"),
            say=lambda key, text: pytest.fail(text),
            poison=run.dir / "poison",
        )

    def post(self, limit_bytes=1 << 30):
        self.journal.look(0.0)
        slices = list(self.journal.read(limit_bytes, None))
        self.run.poster.post(slices)
        self.journal.posted(self.run.poster.next_record - 1)
        return bool(slices)

    def end(self):
        while self.post():
            pass
        if self.journal.drained and not self.journal.ended:
            self.run.poster.end_stream(self.journal.name)
            self.journal.ended = True
        self.run.syncer.sync()
        self.journal.free(self.run.syncer.synced)
        self.journal.remove(self.run.dir / ".steno" / "journal")


@pytest.fixture
def journal(run, monkeypatch):
    """Makes a journal of so many segments; returns the values in it."""
    monkeypatch.setattr("steno.host.name", lambda: "")

    def make(segments):
        place = run.dir / ".steno" / "journal" / "s"
        place.mkdir(parents=True)
        book = Book(place, size=8192)
        logged = 0
        while len(book.segments) <= segments:
            book.log({"x": float(logged), "word": "w" * 500}, logged)
            logged += 1
        for segment in book.segments:
            segment.seal()
            segment.close()
        return [float(i) for i in range(logged)]

    return make


def test_a_segment_is_removed_once_the_posting_that_took_it_is_synced(run, journal, tmp_path):
    logged = journal(4)
    posting = Posting(run)
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        assert posting.post()
        posting.journal.free(run.syncer.synced)
        assert not [step for step in recorder.steps if step.call == "unlink"]
        posting.end()
    recorder.index("unlink .steno/journal/s/000000.seg", recorder.index("fsync *-wal"))
    for step, loss, after in after_each(recorder, tmp_path):
        Posting(after).end()
        assert after.values() == logged, (step, loss)


def test_a_segments_offset_is_forgotten_once_its_removal_is_on_the_disk(run, journal, tmp_path):
    """One that comes back and whose offset is not known would be posted twice."""
    logged = journal(70)
    posting = Posting(run)
    posting.post()
    run.syncer.sync()
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        posting.journal.free(run.syncer.synced)
        posting.end()
    assert run.connection.execute("select count(*) from offsets").fetchone()[0] == 0
    recorder.index("fsync .steno/journal/s", recorder.index("unlink */000063.seg"))
    for step, loss, after in after_each(recorder, tmp_path, ALL):
        Posting(after).end()
        assert after.values() == logged, (step, loss)


# -- small files ------------------------------------------------------------------------------------------


def contents(recorder, tmp_path, name):
    """The object in that file after each power loss; None: it is not there."""
    found = []
    for number, (step, loss) in enumerate(recorder.states(EVERY)):
        path = recorder.power_loss(step, tmp_path / f"after-{number}", loss) / name
        found.append(json.loads(path.read_bytes()) if path.exists() else None)
    return found


def test_a_manifest_is_there_whole_or_not_at_all(run, tmp_path):
    run.post(0, 100)
    run.sealer.finish()
    with Recorder(run.dir, ledger=run.ledger) as recorder:
        manifest.write(run.dir, run.node)
    rows = {None if one is None else one["parts"][0]["rows"] for one in contents(recorder, tmp_path, "manifest.json")}
    assert rows == {None, 200}


def test_an_attempt_is_on_the_disk_before_anything_is_recorded_in_it(tmp_path):
    """Its number, given again after a power loss, would mix the points of two attempts."""
    with steno.init("p", "r", dir=tmp_path / "runs", collector=False) as first:
        path = first.dir
    with Recorder(path) as recorder, steno.init("p", "r", dir=tmp_path / "runs", rewind=3, collector=False) as second:
        assert second.attempt == 2
        opened = len(recorder.steps)
        second.log({"x": 1.0})
    for loss in EVERY:
        (found,) = [
            json.loads(
                recorder.power_loss(opened, tmp_path / f"after-{loss}", loss)
                .joinpath(".steno/attempts/0002.json")
                .read_bytes()
            )
        ]
        assert (found["attempt"], found["rewind"]) == (2, 3)


def test_run_json_is_the_old_or_the_new(tmp_path):
    with steno.init("p", "r", dir=tmp_path / "runs", tags=["old"], collector=False) as first:
        path = first.dir
    with (
        Recorder(path) as recorder,
        steno.init("p", "r", dir=tmp_path / "runs", tags=["new"], resume=True, collector=False),
    ):
        pass
    recorder.index("rename .run.json.* -> run.json", recorder.index("fsync .run.json.*"))
    found = contents(recorder, tmp_path, "run.json")
    assert {tuple(one["tags"]) for one in found} == {("old",), ("old", "new")}
    assert {one["id"] for one in found} == {found[0]["id"]}
