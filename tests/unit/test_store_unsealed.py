"""What a reader holds of points that no part has yet."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from store_runs import Writer

from steno.record import Ref
from steno.store import chunk as chunk_
from steno.store.bins import exact
from steno.store.bins.question import ask
from steno.store.bins.several import CurveRequest, answers
from steno.store.reader import RunReader
from steno.store.unsealed import follow

KEYS = [f"k{number:02d}" for number in range(12)]


def held(thing, seen=None) -> int:
    """Bytes of the arrays that a value reaches, each memory once."""
    seen = {} if seen is None else seen
    todo, known = [thing], set()
    while todo:
        one = todo.pop()
        if id(one) in known or isinstance(one, type) or callable(one):
            continue
        known.add(id(one))
        if isinstance(one, np.ndarray):
            base = one
            while isinstance(base.base, np.ndarray):
                base = base.base
            seen[id(base)] = base.nbytes
        else:
            todo += [other for other in gc.get_referents(one) if not isinstance(other, type(gc))]
    return sum(seen.values())


def test_a_point_that_no_part_has_takes_little_more_than_its_value(tmp_path):
    """However many read the run: 8 bytes are the value, and a record's 24 are shared by its 12 points."""
    run_dir = tmp_path / "tests" / "r"
    with Writer(run_dir) as writer:
        writer.attempt(1)
        for batch in range(40):
            rows = [(step, dict.fromkeys(KEYS, step + 0.5)) for step in range(100 * batch, 100 * (batch + 1))]
            writer.log(*rows)
        engine, reader = exact.shared(), RunReader(run_dir)
        before = held([engine.__dict__, reader])
        for x in ("step", "time"):
            answers([CurveRequest(ask([key], x, None, 640, None)) for key in KEYS], tmp_path)
        assert len(list(reader.tail(last=5, follow=False))) == 5
        points = 40 * 100 * len(KEYS)
        assert sum(map(len, follow(run_dir).view().chunks)) == points
        assert points * 8 < held([engine.__dict__, reader]) - before < points * 12


def test_bins_of_what_no_part_has_take_less_than_its_values(tmp_path, monkeypatch):
    """A bin takes 330 bytes, of which most runs need half; a key of a long chunk has no more bins than a chart."""
    monkeypatch.setattr(exact, "POINTS_A_BIN", 0)
    run_dir, points = tmp_path / "tests" / "r", 100_000
    with Writer(run_dir) as writer:
        writer.attempt(1)
        writer.log(*[(step, {"loss": float(step)}) for step in range(points)])
        engine = exact.Exact()
        question = ask(["loss"], "step", None, 640, None)
        monkeypatch.setattr(exact, "shared", lambda: engine)
        (curves,) = answers([CurveRequest(question)], tmp_path)
        assert curves.curve().total == points
        assert curves.curve().bins.max.value.tolist()[:2] == [255.0, 511.0]
        bins = held(engine._files.chunkbins().__dict__) - sum(chunk.bytes for chunk in follow(run_dir).view().chunks)
        assert 0 < bins < points * 4


def test_readers_of_a_run_in_a_process_share_what_they_follow(tmp_path):
    run_dir = tmp_path / "tests" / "r"
    with Writer(run_dir) as writer:
        writer.attempt(1)
        writer.log(*[(step, {"loss": float(step)}) for step in range(100)])
        one, other = RunReader(run_dir), RunReader(run_dir)
        assert one.series("loss").value.tolist() == other.series("loss").value.tolist()
        assert follow(run_dir).view().chunks[0] is follow(run_dir).view().chunks[0]
        one.close()
        assert len(other.series("loss")) == len(one.series("loss")) == 100


@pytest.mark.parametrize("seed", range(4))
def test_chunks_hold_the_points_of_their_batches_however_they_are_put_together(tmp_path, seed):
    """Keys in some records, in each, in one; texts, files and big ints; several ranks and attempts."""
    rng = np.random.default_rng(seed)
    run_dir = tmp_path / "tests" / "r"
    expected: dict[str, list[tuple[object, ...]]] = {}
    with Writer(run_dir) as writer:
        step = 0
        for _ in range(int(rng.integers(2, 9))):
            rank, attempt, rows = int(rng.integers(3)), int(rng.integers(1, 3)), []
            for _ in range(int(rng.integers(1, 30))):
                row: dict[str, object] = {"loss": float(rng.normal())} if rng.random() < 0.9 else {}
                row |= {f"k{key}": float(key) for key in rng.permutation(5)[: int(rng.integers(0, 5))]}
                if rng.random() < 0.2:
                    row["odd"] = [f"text {step}", 2**60 + step, Ref("", "text", {"text": "x"})][int(rng.integers(3))]
                for key, value in row.items():
                    expected.setdefault(key, []).append((step, rank, attempt, value))
                rows.append((step, row))
                step += 1
            writer.log(*rows, rank=rank, attempt=attempt)
        view = follow(run_dir).view()
        whole = chunk_.concat(view.chunks)
        halves = [whole.take(whole.shared["step"] < step // 2), whole.take(whole.shared["step"] >= step // 2)]
        for chunks in (view.chunks, [whole], halves, [chunk_.concat(halves)]):
            assert {key: got([chunk.of(view.ids[key]) for chunk in chunks]) for key in view.ids} == expected
            every = [chunk.points() for chunk in chunks]
            assert {
                key: got([points.take(points.key == view.ids[key]) for points in every]) for key in view.ids
            } == expected
            some = [chunk.points(np.arange(len(chunk.keys)) % 2 == 0) for chunk in chunks]
            wanted = [set(chunk.keys[::2].tolist()) for chunk in chunks]
            assert [set(points.key.tolist()) for points in some] == wanted


def got(pieces):
    """(step, rank, attempt, value) of the points of one key."""
    return [
        (step, rank, attempt, points.special.get(row, value))
        for points in pieces
        if points is not None
        for row, (step, rank, attempt, value) in enumerate(
            zip(points.step.tolist(), points.rank.tolist(), points.attempt.tolist(), points.value.tolist(), strict=True)
        )
    ]
