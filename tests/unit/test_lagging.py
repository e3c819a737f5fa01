"""Destinations that are far behind: their batches come out of parts, a stretch at a time, whoever else reads there."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from store_runs import Writer

from steno.ledger import part_points, read
from steno.ledger.read import Reader
from steno.ledger.rebuild import PartBatches


def plain(batch):
    return repr([*batch.records()]), batch.entries  # by its text: nan is not equal to itself


@pytest.fixture
def writer(tmp_path):
    with Writer(tmp_path / "p" / "run") as made:
        yield made


def mixed(writer, batches=40, seed=0):
    """Batches of many sizes, key sets and kinds of value, with entries, and some of entries alone."""
    choose = random.Random(seed)
    for number in range(batches):
        rows = [
            (
                choose.randrange(-5, 1000),
                choose.choice(
                    [{"a": 1.5, "b": 2.0}, {"b": 3.0}, {"t": "text", "a": 2**60 + at}, {"n": float("nan"), "z": 10**30}]
                ),
            )
            for at in range(choose.choice([0, 1, 5, 40]))
        ]
        writer.log(*rows, entries=[("event", {"n": number})] if number % 3 == 0 or not rows else ())


@pytest.mark.parametrize("points", [1, 7, 100, 10**6])
@pytest.mark.parametrize("group_rows", [16, 1 << 17])
def test_a_batch_is_the_same_whatever_stretch_it_is_read_with(writer, monkeypatch, points, group_rows):
    monkeypatch.setattr(read, "_STRETCH_POINTS", points)
    monkeypatch.setattr(part_points, "GROUP_ROWS", group_rows)
    mixed(writer)
    posted = {id: plain(Reader(writer.run_dir).batch(0, id)) for id in range(1, 41)}
    writer.seal()
    reader, ids = Reader(writer.run_dir), [*range(1, 41)] * 2
    random.Random(points).shuffle(ids)
    assert {id: plain(reader.batch(0, id)) for id in ids} == posted
    assert reader.batch(0, 41) is None


def test_two_that_are_about_as_far_share_what_was_read(writer, monkeypatch):
    monkeypatch.setattr(read, "_STRETCH_POINTS", 1000)
    loads, load = [], PartBatches.load.__func__

    def counted(cls, *some):
        loads.append(some[-1])
        return load(cls, *some)

    monkeypatch.setattr(PartBatches, "load", classmethod(counted))
    for batch in range(60):
        writer.log(*[(batch * 100 + at, {"x": 1.0}) for at in range(100)])
    writer.seal()
    reader = Reader(writer.run_dir)
    for id in range(1, 61):
        reader.batch(0, id)
        reader.batch(0, max(id - 9, 1))
    assert loads == [(first, first + 9) for first in range(1, 61, 10)]


READ = """
import sys
from pathlib import Path
from steno.destinations.csv import Csv
from steno.destinations.jsonl import Jsonl
from steno.ledger.read import Reader
from steno.record import RunInfo
{before}
run_dir, last, apart = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
reader, made = Reader(run_dir), [Csv(), Jsonl()]
for one in made:
    one.open(RunInfo(run_dir, "r", "r", "p"))
import pyarrow.parquet
def peak_mib():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) >> 10
base = peak_mib()
for id in range(1, last + 1):
    for one, number in zip(made, (id, id - apart)):
        if number > 0:
            one.write(reader.batch(0, number))
print(peak_mib() - base, "pandas" in sys.modules)
"""


def read_in_child(run_dir, last, apart, before=""):
    done = subprocess.run(
        [sys.executable, "-c", READ.format(before=before), str(run_dir), str(last), str(apart)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mib, pandas = done.stdout.split()
    return int(mib), pandas == "True"


def test_csv_and_jsonl_far_behind_at_two_places_take_little_memory(writer):
    """400,000 points of one part: as a whole it takes twice as much."""
    for batch in range(40):
        writer.log(*[(batch * 10_000 + at, {"x": at / 7}) for at in range(10_000)])
    writer.seal()
    mib, pandas = read_in_child(writer.run_dir, 40, 20)
    assert mib <= 100
    assert not pandas


NO_PANDAS = """
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""


def test_entries_are_read_from_parts_where_pandas_is_not_installed(writer):
    mixed(writer)
    writer.seal()
    read_in_child(writer.run_dir, 40, 0, NO_PANDAS)
    assert (writer.run_dir / "metrics.jsonl").read_text().count('"kind":"event"') >= 14
