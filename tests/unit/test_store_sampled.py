"""A series at few points: what `downsample` promises, whether its points or its bins were read."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from store_runs import Writer

import steno
from steno import files
from steno.store import files_run


def check(reader: steno.RunReader, key: str, points: int, **chosen) -> tuple[steno.Series, steno.Series]:
    few, exact = reader.series(key, points=points, **chosen), reader.series(key, **chosen)
    assert len(few) <= points
    whole = {
        place: row
        for row, place in enumerate(
            zip(exact.step.tolist(), exact.attempt.tolist(), exact.rank.tolist(), exact.record.tolist(), strict=True)
        )
    }
    rows = [
        whole[place]
        for place in zip(few.step.tolist(), few.attempt.tolist(), few.rank.tolist(), few.record.tolist(), strict=True)
    ]
    assert rows == sorted(set(rows))
    assert few.value.tobytes() == exact.value[rows].tobytes()
    assert few.time.tolist() == exact.time[rows].tolist()
    assert few.special == {at: exact.special[row] for at, row in enumerate(rows) if row in exact.special}
    if not np.isnan(exact.value).all():
        assert np.nanmin(few.value) == np.nanmin(exact.value)
        assert np.nanmax(few.value) == np.nanmax(exact.value)
    if points >= 4:
        assert rows[0] == 0
        assert rows[-1] == len(exact) - 1
    if points >= 16 and np.isnan(exact.value).any():
        assert np.isnan(few.value).any()
    return few, exact


def log(writer: Writer, value: np.ndarray, first: int = 0, **said) -> None:
    writer.log(*((first + at, {"x": one}) for at, one in enumerate(value.tolist())), **said)


@pytest.mark.parametrize("seed", range(6))
def test_at_few_points_a_run_keeps_its_extremes_and_ends(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path / "p" / "r"
    with Writer(path) as writer:
        writer.attempt(1)
        for number in range(3):
            if number == 2 and seed % 2:
                writer.attempt(2, 30_000)
            for rank in range(1 + seed % 3):
                value = rng.standard_normal(20_000)
                if seed == 3:
                    value[5000:9000] = math.nan
                if seed == 4:
                    value[rng.integers(0, 20_000, 5)] = rng.choice([math.inf, -math.inf, math.nan], 5)
                log(writer, value, 20_000 * number, rank=rank, attempt=2 if number == 2 and seed % 2 else 1)
            if number < 2 or seed % 2:
                writer.seal()
        with steno.open(path) as reader:
            for points in (2, 10, 100, 500, 2000):
                check(reader, "x", points)
            check(reader, "x", 300, attempt="all")
            check(reader, "x", 300, steps=(1234, 47_000), rank=0)


def test_a_spike_and_the_edges_of_nan_stay(tmp_path):
    value = np.sin(np.arange(200_000) / 1000)
    value[123_456] = 1e9
    value[150_000:160_000] = math.nan
    path = tmp_path / "p" / "r"
    with Writer(path) as writer:
        for begin in range(0, 200_000, 50_000):
            log(writer, value[begin : begin + 50_000], begin)
            writer.seal()
    with steno.open(path) as reader:
        few, _ = check(reader, "x", 400)
        assert {123_456, 150_000, 159_999, 160_000 - 1} <= set(few.step.tolist())
        assert 200 <= len(few) <= 400
        gaps = np.diff(few.step[~np.isnan(few.value)])
        assert np.sort(gaps)[-2] <= 200_000 / 100 * 2, "points are spread over all steps"


def test_the_points_of_a_sealed_run_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "p" / "r"
    value = np.random.default_rng(0).standard_normal(100_000)
    with Writer(path) as writer:
        writer.attempt(1)
        log(writer, value)
        writer.finish()
    with steno.open(path) as reader:
        expected = check(reader, "x", 100)[0]
    with steno.open(path) as reader:
        monkeypatch.setattr(files_run.FilesRun, "points", lambda *_: pytest.fail("the points are read"))
        monkeypatch.setattr(reader._own.engine, "table", lambda *_: pytest.fail("a part is read"))
        assert reader.series("x", points=100).record.tolist() == expected.record.tolist()


def test_a_lost_part_is_said_though_its_bins_are_there(tmp_path):
    path = tmp_path / "p" / "r"
    with Writer(path) as writer:
        log(writer, np.arange(50_000.0))
        writer.finish()
    files.unlink(next((path / "metrics").glob("*.parquet")))
    with steno.open(path) as reader, pytest.raises(steno.CorruptError, match="listed and not there"):
        reader.series("x", points=100)


def test_few_points_are_read_while_parts_are_sealed_and_merged(tmp_path):
    path = tmp_path / "p" / "r"
    done = threading.Event()
    with Writer(path) as writer:
        writer.attempt(1)
        log(writer, np.arange(3000.0))

        def write() -> None:
            for begin in range(3000, 120_000, 3000):
                log(writer, np.arange(begin, begin + 3000.0), begin)
                writer.seal()
            writer.sealer.finish()
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        last = 0
        with steno.open(path) as reader:
            while not done.is_set():
                few = reader.series("x", points=64)
                assert len(few) <= 64
                assert few.value.tolist() == few.step.tolist()
                assert few.step[0] == 0
                assert few.step[-1] >= last
                last = int(few.step[-1])
            thread.join()
            assert reader.series("x", points=64).step[-1] == 119_999
