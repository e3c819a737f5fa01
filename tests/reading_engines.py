"""The engines that read runs, and random runs whose every point is known without them.

An engine is tested by `tests/unit/test_reading_engines.py`: it enters `ENGINES` by a context manager that takes a
directory of runs (`tests/NAME` below it) and gives the place by which `steno.runs` and the others find them there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from steno.record import Ref

sys.path.insert(0, str(Path(__file__).parent / "unit"))
from store_runs import START_NS, Writer  # noqa: E402 - as the unit tests have it


@contextlib.contextmanager
def _files(place: Path) -> Iterator[str]:
    yield str(place)


@contextlib.contextmanager
def _clickhouse(place: Path) -> Iterator[str]:
    """The destination's rows of all batches, and those of the parts beside: each record is sent twice where it is sealed."""
    import steno
    from clickhouse_front import front
    from steno.clickhouse.place import place_of
    from steno.destinations.services._clickhouse import ClickHouse
    from steno.publish import clickhouse as publishing
    from steno.record import RunInfo
    from steno.store.clickhouse import curves
    from steno.store.stock import stock_of

    with front(place.with_name("clickhouse")) as (_, gate):
        url = f"clickhouse://default@127.0.0.1:{gate.port}/runs"
        for run in steno.runs(place):
            with steno.open(run.path) as reader:
                to = ClickHouse(url=url)
                to.open(RunInfo(run.path, run.id, run.name, run.project, run.config, run.tags, node=1))
                for batch in reader.batches():
                    to.write(batch)
                to.flush()
                to.close()
        publishing.publish(stock_of(place), place_of(url))
        most, curves.MOST_POINTS = curves.MOST_POINTS, 300  # both ways: what is fetched, and what ClickHouse computes
        try:
            yield url
        finally:
            curves.MOST_POINTS = most


@contextlib.contextmanager
def _store(place: Path) -> Iterator[str]:
    """An S3 server to which the uploader of each node has brought what there is."""
    import pytest

    import object_stores
    from steno import files
    from steno.collector.uploads.location import Location
    from steno.collector.uploads.uploader import Uploader
    from steno.ledger import manifest
    from steno.ledger.read import Reader

    with object_stores.moto_server() as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STENO_CACHE_DIR", str(place.with_name("cache")))
        for name, value in object_stores.environment(f"http://127.0.0.1:{port}").items():
            patch.setenv(name, value)
        object_stores.client(port).create_bucket(Bucket="runs")
        for run_dir in sorted((place / "tests").iterdir()):
            (run_dir / ".steno" / "stores").mkdir()
            files.write_json(run_dir / ".steno" / "stores" / "store.json", {"url": "s3://runs/x"})
            for node_dir in sorted((run_dir / ".steno" / "nodes").iterdir()):
                node = int(node_dir.name, 16)
                snapshot = Reader(run_dir).snapshot()
                if not snapshot.batches:  # as a collector says that the node has ended
                    files.write_json(node_dir / "manifest.json", manifest.piece(snapshot, node))
                uploader = Uploader(run_dir, node, {"store": "s3://runs/x"})
                uploader._locations["store"] = Location("store", "s3://runs/x", node_dir, uploader._gate)
                assert uploader._sweep()
        yield "s3://runs/x"


ENGINES: dict[str, Callable[[Path], AbstractContextManager[str]]] = {"files": _files, "store": _store}
"""By name."""
if importlib.util.find_spec("chdb") is not None:  # `scripts/test-integrations engines` installs it
    ENGINES["clickhouse"] = _clickhouse


@dataclass(frozen=True, slots=True)
class Point:
    """A point as it was logged."""

    key: str
    step: int
    attempt: int
    rank: int
    node: int
    record: int
    """Counts the node's records from 1."""
    time: int
    value: float | int | str | Ref

    @property
    def order(self) -> tuple[int, ...]:
        """By which a series has it."""
        return self.step, self.attempt, self.rank, self.node, self.record

    @property
    def number(self) -> float:
        """As a series' `value` has it."""
        return math.nan if isinstance(self.value, str | Ref) else float(self.value)


@dataclass
class Model:
    """A run as it was recorded."""

    name: str
    about: dict = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    rewinds: dict[int, int] = field(default_factory=dict)
    """By attempt, the step from which on earlier ones are hidden."""
    entries: list[tuple[str, dict]] = field(default_factory=list)
    stage: str = "finished"

    @property
    def keys(self) -> list[str]:
        return sorted({one.key for one in self.points})

    def series(self, key: str, attempt="latest", rank=None, steps=(None, None)) -> list[Point]:
        """The chosen points of a key, in order."""

        def chosen(one: Point) -> bool:
            if attempt == "latest" and any(one.attempt < at and one.step >= step for at, step in self.rewinds.items()):
                return False
            if isinstance(attempt, int) and one.attempt != attempt:
                return False
            low, high = steps
            return (
                one.key == key
                and (rank is None or one.rank == rank)
                and (low is None or one.step >= low)
                and (high is None or one.step <= high)
            )

        return sorted(filter(chosen, self.points), key=lambda one: one.order)


def odd(rng: np.random.Generator) -> float | int | str | Ref:
    """A value: mostly a float, at times one of those that are hard to keep."""
    pick = rng.random()
    some: list[float | int | str | Ref] = [
        math.nan, math.inf, -math.inf, -0.0, "a text, \"quoted\" 'so' \\ and ünï", 2**60 + 1, -(2**63) + 1,
        Ref("ab" * 16, "image", {"ext": "png", "width": 4}), 5e-324, 1.7976931348623157e308,
    ]  # fmt: skip
    if pick < 0.15:
        return some[int(rng.integers(len(some)))]
    return float(rng.normal(1e8, 1.0) if pick < 0.5 else rng.normal())


def record(place: Path, name: str, seed: int, count: int, *, stage: str = "finished") -> Model:
    """A run of random points: falling and repeated steps, ranks, a second node, rewinds, keys that begin late."""
    rng = np.random.default_rng(seed)
    about = {"config": {"lr": 10.0 ** -int(seed % 3), "opt": {"name": f"o{seed}"}}, "tags": [f"t{seed}", "every"]}
    model = Model(name, about, stage=stage)
    run_dir = place / "tests" / name
    writers = [Writer(run_dir, node=node + 1, id=f"{name}-{seed}", **about) for node in range(1 + seed % 2)]
    numbers = [0] * len(writers)
    keys = ["loss", "val/acc ü", "lr"]
    attempts = 1 + seed % 3
    for attempt in range(1, attempts + 1):
        rewind = None if attempt == 1 else int(rng.integers(0, 2 * count))
        for writer in writers:
            writer.attempt(attempt, rewind)
        if rewind is not None:
            model.rewinds[attempt] = rewind
        for piece in range(2):
            for rank in range(2):
                node = rank % len(writers)
                writer = writers[node]
                rows = []
                for at in range(count // 4):
                    # Mostly rising, as steps do, at times falling or the same.
                    step = int(rng.integers(-50, 3 * count)) if rng.random() < 0.2 else piece * count + 2 * at
                    rows.append((step, {key: odd(rng) for key in keys if key != "lr" or (piece and at % 3 == 0)}))
                before = writer.mono
                entries = [("note", {"text": f"{attempt} {piece} {rank}"})]
                writer.log(*rows, rank=rank, attempt=attempt, entries=entries)
                for at, (step, row) in enumerate(rows):
                    numbers[node] += 1
                    time = START_NS + before + 1 + at * 1_000_003
                    model.points += [
                        Point(key, step, attempt, rank, node + 1, numbers[node], time, value)
                        for key, value in row.items()
                    ]
                numbers[node] += len(entries)
                model.entries += entries
            if stage == "parts" and piece == 0:
                for writer in writers:
                    writer.seal()
    for writer in writers:
        if stage == "finished":
            writer.finish()
        writer.close()
    return model
