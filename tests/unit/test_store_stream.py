"""Batches of a whole run in order, whatever is sealed, merged or gone; and the export that streams them."""

from __future__ import annotations

import gc
import shutil
import tracemalloc

import numpy as np
import pytest
from store_runs import Writer

import steno
from steno.cli import events
from steno.errors import CorruptError
from steno.ledger import manifest, seal
from steno.ledger.rebuild import PartBatches
from steno.record import Ref
from steno.store.reader import RunReader

ODD = [1.5, float("nan"), 2**63 - 1, 2**200, "text", Ref("d1", "image", {"w": 3})]


def plain(batch):
    """A batch as something that can be compared."""
    records = [(one.record, one.time, one.step, one.rank, one.attempt, repr(one.values)) for one in batch.records()]
    return batch.node, batch.id, records, batch.entries


def fill(writer, first=0, count=12):
    for number in range(first, first + count):
        rows = [(number * 10 + at, {"a": float(at), "b": ODD[(number + at) % len(ODD)]}) for at in range(5)]
        alone = number % 4 == 3
        notes = [("note", {"n": number})] * (number % 3 or alone)
        writer.log(*() if alone else rows, rank=number % 2, entries=notes)


@pytest.mark.parametrize("stage", ["unsealed", "half", "sealed", "merged", "copied"])
def test_batches_are_those_that_were_posted(tmp_path, stage):
    with Writer(tmp_path / "p" / "run") as writer:
        fill(writer)
        with RunReader(writer.run_dir) as book:
            posted = [plain(batch) for batch in book.batches()]
        assert [one[1] for one in posted] == list(range(1, 13))
        assert sum(len(one[2]) for one in posted) == 45
        if stage != "unsealed":
            writer.sealer.seal()
        if stage == "half":
            fill(writer, 12, 4)
            with RunReader(writer.run_dir) as book:
                posted += [plain(batch) for batch in book.batches()][12:]
            assert len(posted) == 16
        if stage in {"merged", "copied"}:
            fill(writer, 12, 4)
            with RunReader(writer.run_dir) as book:
                posted += [plain(batch) for batch in book.batches()][12:]
            writer.sealer.finish()
        if stage == "copied":
            manifest.write(writer.run_dir, writer.ledger.parent)
            shutil.rmtree(writer.run_dir / ".steno")
        with RunReader(writer.run_dir) as book:
            assert [plain(batch) for batch in book.batches()] == posted


def test_nodes_follow_each_other(tmp_path):
    with Writer(tmp_path / "p" / "run") as one, Writer(tmp_path / "p" / "run", node=1) as other:
        fill(other, 0, 3)
        fill(one, 0, 3)
        one.seal()
        with RunReader(one.run_dir) as book:
            found = [(batch.node, batch.id) for batch in book.batches()]
    assert found == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_parts_may_be_merged_and_batches_sealed_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "_PART_BATCHES", 3)
    with Writer(tmp_path / "p" / "run") as writer:
        fill(writer, 0, 9)
        writer.seal()
        fill(writer, 9, 3)
        with RunReader(writer.run_dir) as book:
            whole = [plain(batch) for batch in book.batches()]
            found = []
            for batch in book.batches():
                found.append(plain(batch))
                if batch.id == 2:
                    writer.sealer.finish()
                    fill(writer, 12, 2)
    assert found == whole


def test_a_part_that_is_gone_is_said_and_not_passed_over(tmp_path):
    with Writer(tmp_path / "p" / "run") as writer:
        fill(writer)
        writer.seal()
        next((writer.run_dir / "metrics").iterdir()).unlink()
        with RunReader(writer.run_dir) as book, pytest.raises(CorruptError, match="is listed and not there"):
            list(book.batches())


def test_an_export_holds_one_part_at_a_time(tmp_path, monkeypatch):
    """Six times the parts, the same memory."""
    alive, most = [], []
    load = PartBatches.load.__func__

    def counted(cls, *some):
        gc.collect()
        most.append(sum(type(one) is PartBatches for one in gc.get_objects()))
        made = load(cls, *some)
        alive.append(made.names)
        return made

    monkeypatch.setattr(PartBatches, "load", classmethod(counted))
    peaks = []
    for name, parts in (("small", 2), ("large", 12)):
        with Writer(tmp_path / "p" / name) as writer:
            for part in range(parts):
                writer.log(*[(part * 1000 + at, {f"k{key}": float(at) for key in range(20)}) for at in range(1000)])
                writer.seal()
        with RunReader(writer.run_dir) as book:
            tracemalloc.start()
            assert events.write(book, tmp_path / f"{name}.events") == (parts * 20_000, 0)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert len(alive) == 14
    assert max(most) == 0
    assert peaks[1] < 1.5 * peaks[0]


def test_an_export_for_tensorboard_has_the_media(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with steno.init(project="p", name="r", dir=tmp_path) as run:
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        run.log({"loss": 1.0, "picture": steno.Image(pixels), "voice": steno.Audio(np.zeros(80), 8000)}, step=3)
        run.log({"page": steno.Html("<b>no place there</b>"), "table": steno.Table({"a": [1, 2]})}, step=4)
        assert run.finish(60)
    with RunReader(run.dir) as book:
        assert events.write(book, tmp_path / "events") == (4, 1)
    found = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(one.step, one.width, one.height) for one in found.Images("picture")] == [(3, 4, 4)]
    assert [one.step for one in found.Audio("voice")] == [3]
    assert found.Tags()["scalars"] == ["loss"]
    assert found.Tags()["tensors"] == ["table"]


def test_each_rank_has_its_event_files_and_rewinds_hide_in_all(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Writer(tmp_path / "p" / "ranks") as writer:
        for attempt, first in ((1, 0), (2, 6)):
            start = {"pid": 1} if attempt == 1 else {"pid": 2, "rewind": 6}
            writer.log(attempt=attempt, entries=[("start", start)])
            for rank in (0, 1):
                rows = [(step, {"x": step + rank / 2}) for step in range(first, 10)]
                writer.log(*rows, rank=rank, attempt=attempt)
            writer.seal()
    with RunReader(writer.run_dir) as book:
        assert events.write(book, tmp_path / "events") == (28, 0)
    for rank, place in ((0, tmp_path / "events"), (1, tmp_path / "events" / "rank-1")):
        accumulator = EventAccumulator(str(place), size_guidance={"scalars": 0})
        accumulator.Reload()
        found = [(event.step, event.value) for event in accumulator.Scalars("x")]
        assert found == [(step, step + rank / 2) for step in range(10)]
