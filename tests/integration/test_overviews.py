"""A run of many parts in a store: files of bins over many parts answer for it in a few requests, exactly."""

from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import object_stores
import steno
from steno import files
from steno.collector.uploads import overviews
from steno.collector.uploads.location import Location
from steno.collector.uploads.uploader import Uploader
from steno.ledger import node_object
from steno.record import node_name

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from store_runs import Writer  # noqa: E402 - as the unit tests have it

pytestmark = pytest.mark.timeout(180)
KEYS = ("loss", "acc", "odd", "rare")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))


def rows(rng, part, count, rank=0):
    """A part's records: falling and repeated steps, NaN, infinities, texts, a key that comes seldom."""
    found = []
    for at in range(count):
        step = part * count + at - (5 if rng.random() < 0.02 else 0)
        row = {"loss": float(rng.normal()), "acc": float(rng.normal(1e6, 1e-3)), "odd": float(rng.normal())}
        if at % 97 == 0:
            row["odd"] = [math.nan, math.inf, -math.inf][at % 3]
        if at % 50 == 0:
            row["rare"] = float(part)
        found.append((step, row))
    return found


class Sent:
    """A run of one node, and its uploader, whose looks are asked for one by one."""

    def __init__(self, run_dir, url, node=7):
        self.node = node
        self.writer = Writer(run_dir, node=node)
        self.uploader = Uploader(run_dir, node, {"store": url})
        place = run_dir / ".steno" / "nodes" / node_name(node)
        self.uploader._locations["store"] = Location("store", url, place, self.uploader._gate)

    def look(self):
        assert self.uploader._sweep()

    def end(self):
        """As a collector says that the node has ended."""
        from steno.ledger import manifest
        from steno.ledger.read import Reader

        run_dir = self.writer.run_dir
        self.writer.close()
        files.write_json(
            run_dir / ".steno" / "nodes" / node_name(self.node) / "manifest.json",
            manifest.piece(Reader(run_dir).snapshot(batches=False), self.node),
        )
        self.look()


def names(folder, kind="parts"):
    return sorted(path.name[17:] for path in folder.glob(f"metrics/*-{kind}-*.bins"))


def same_curves(far, near):
    for asked in ({}, {"range": (700, 9000)}, {"ranks": "all"}):
        one, other = (steno.bins(["loss", "acc", "odd"], place, width=40, **asked) for place in (far, near))
        assert (one.left_out, one.width, len(one)) == ((), other.width, len(other))
        for a, b in zip(one.curves, other.curves, strict=True):
            assert (a.key, a.rank, len(a.bins)) == (b.key, b.rank, len(b.bins))
            for name in ("index", "count", "nan", "posinf", "neginf"):
                assert np.array_equal(getattr(a.bins, name), getattr(b.bins, name)), name
            for mark in ("first", "last", "min", "max"):
                for name in ("step", "value"):
                    same = np.array_equal(
                        getattr(getattr(a.bins, mark), name), getattr(getattr(b.bins, mark), name), equal_nan=True
                    )
                    assert same, (mark, name)
            np.testing.assert_allclose(a.bins.mean, b.bins.mean, rtol=1e-12)
            np.testing.assert_allclose(a.bins.std, b.bins.std, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("ranks", [1, 4, 10])
def test_files_of_bins_over_many_parts_say_what_the_points_say(ranks, tmp_path, monkeypatch):
    monkeypatch.setattr(overviews, "FEW", 4)
    rng = np.random.default_rng(ranks)
    run_dir, url = tmp_path / "tests" / "long", f"file://{tmp_path}/store"
    sent = Sent(run_dir, url)
    there = tmp_path / "store/tests/long"
    for part in range(13):
        for rank in range(ranks):
            sent.writer.log(*rows(rng, part, 1500 // ranks), rank=rank)
        if part == 8:
            sent.writer.attempt(1)
            sent.writer.attempt(2, rewind=9 * 1500 // ranks - 300)
            for rank in range(ranks):
                sent.writer.log(*rows(rng, part, 300), rank=rank, attempt=2)
        sent.writer.seal()
        sent.look()
        if part in {4, 9, 12}:
            same_curves(f"{url}/tests/long", run_dir)
    made = ["parts-000001-000004.bins", "parts-000001-000008.bins", "parts-000009-000012.bins"]
    assert names(there) == made
    over_ranks = [name.replace("parts", "ranks") for name in made]
    assert names(there, "ranks") == (over_ranks if ranks >= 8 else [])
    sent.end()
    assert names(there) == sorted([*made, "parts-000001-000013.bins"])
    files.remove_tree(tmp_path / "cache")
    same_curves(f"{url}/tests/long", run_dir)
    with steno.open(f"{url}/tests/long") as far, steno.open(run_dir) as near:
        for key in KEYS:
            every = near.series(key)
            assert far.series(key).value.tobytes() == every.value.tobytes()
            few = far.series(key, points=60)
            assert len(few) <= 60
            for extreme in (np.nanmin, np.nanmax):
                assert extreme(few.value) == extreme(every.value)
    # One that is damaged answers for nothing.
    for path in [*there.glob("metrics/*-parts-*.bins"), *there.glob("metrics/*-ranks-*.bins")]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    files.remove_tree(tmp_path / "cache")
    same_curves(f"{url}/tests/long", run_dir)


def test_over_the_ranks_of_several_nodes_little_is_read(tmp_path):
    """All ranks have the same steps: which point comes first among equal ones goes by the rank, across nodes."""
    rng = np.random.default_rng(5)
    run_dir, url = tmp_path / "tests" / "ranks", f"file://{tmp_path}/store"
    nodes = [Sent(run_dir, url, node) for node in (7, 3)]
    for part in range(6):
        for at, node in enumerate(nodes):
            for rank in range(8):
                of = 2 * rank + 1 - at
                values = rng.normal(of, 1.0, 250).round(1).tolist()
                node.writer.log(*((part * 250 + step, {"loss": one}) for step, one in enumerate(values)), rank=of)
            node.writer.seal()
    for node in nodes:
        node.end()
    there = tmp_path / "store/tests/ranks"
    assert len(names(there, "ranks")) == 2
    far, near = (steno.bins("loss", place, width=50) for place in (f"{url}/tests/ranks", run_dir))
    series = steno.open(run_dir).series("loss")
    bins = far.curves[0].bins
    at = series.step // far.width
    for number, index in enumerate(bins.index.tolist()):
        value = series.value[at == index]
        assert (bins.count[number], bins.min.value[number], bins.max.value[number]) == (
            len(value), value.min(), value.max(),
        )  # fmt: skip
        assert (bins.first.value[number], bins.last.value[number]) == (value[0], value[-1])
        np.testing.assert_allclose([bins.mean[number], bins.std[number]], [value.mean(), value.std()], rtol=1e-12)
        assert bins.min.step[number] == series.step[at == index][value.argmin()]
    assert near.curves[0].bins.max.step.tolist() == bins.max.step.tolist()
    cached = {path.parent.name for path in (tmp_path / "cache").rglob("ranges/*/*")}
    assert len(cached) == 2
    assert all("-ranks-" in name for name in cached)


def test_a_key_of_many_parts_takes_a_few_requests(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    with object_stores.moto_server() as port:
        gate = object_stores.Gate(port)
        try:
            for name, value in object_stores.environment(gate.url).items():
                monkeypatch.setenv(name, value)
            object_stores.client(port).create_bucket(Bucket="many")
            sent = Sent(tmp_path / "tests" / "many", "s3://many/x")
            for part in range(40):
                sent.writer.log(
                    *((part * 400 + at, {f"k{key}": float(rng.normal()) for key in range(8)}) for at in range(400))
                )
                sent.writer.seal()
            sent.end()
            gate.seen.clear()
            gate.answered = 0
            with steno.open("s3://many/x/tests/many") as far:
                assert len(far.series("k3", points=200)) <= 200
                asked, answered = len(gate.seen), gate.answered
                assert (asked <= 10, answered < 200_000) == (True, True), (asked, answered, gate.seen)
                curve = steno.bins("k3", "s3://many/x/tests/many", width=60).curves[0]
            near = steno.bins("k3", sent.writer.run_dir, width=60).curves[0]
            assert curve.bins.min.value.tolist() == near.bins.min.value.tolist()
        finally:
            gate.close()


def test_a_large_list_of_parts_is_compressed_and_a_bomb_is_none():
    said = {"node": 7, "parts": [{"name": f"metrics/{number:06d}.parquet", "rows": number} for number in range(9000)]}
    data = node_object.encoded(said)
    assert len(data) < 100_000
    assert node_object.parsed(data) == said
    assert node_object.parsed(data[:-20]) == {}
    assert node_object.parsed(node_object.encoded({"node": 7})) == {"node": 7}
    assert node_object.parsed(gzip.compress(b" " * (257 << 20))) == {}
