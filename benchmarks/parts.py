"""Bytes and CPU per number of a sealed part, by what the numbers are and how many keys there are.

    python benchmarks/parts.py [POINTS]

CPU is of `write_metrics` with its sync and of the checksum, best of three; a part of records of one key set.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from steno.ledger import part_points, parts, verify

POINTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000
ROUNDS = 3


def values(kind: str, rows: int, keys: int) -> np.ndarray:
    """(rows, keys): random float64; losses as float32; four decimals; a constant."""
    random = np.random.default_rng(0)
    steps = np.arange(1, rows + 1)[:, None]
    if kind == "random":
        return random.random((rows, keys))
    if kind == "loss":
        return (steps**-0.3 * (1 + 0.02 * random.standard_normal((rows, keys)))).astype(np.float32).astype(float)
    if kind == "rounded":
        return np.round(random.random((rows, keys)), 4)
    return np.full((rows, keys), 1e-3)


def points(kind: str, keys: int) -> part_points.PartPoints:
    """A part's worth, as the ledger gives it."""
    rows = POINTS // keys
    return part_points.PartPoints(
        record=np.arange(1, rows + 1),
        time=10**18 + np.arange(rows) * 5_000_000 + np.random.default_rng(1).integers(0, 2_000_000, rows),
        step=np.arange(rows),
        rank=np.zeros(rows, np.int32),
        attempt=np.ones(rows, np.int32),
        batch=np.arange(rows) // 500 + 1,
        start=np.arange(rows) * keys,
        width=np.full(rows, keys),
        first=np.zeros(rows, np.int64),
        ranks=np.arange(keys).astype(np.uint16),
        names=[f"train/metric-{key:05d}" for key in range(keys)],
        value=values(kind, rows, keys).reshape(-1),
    )


def constants() -> list[object]:
    """What `write_metrics` wants beside path, points and facts; nothing before format 2."""
    if "same" not in inspect.signature(parts.write_metrics).parameters:
        return []
    from steno.ledger.layout import Constants

    return [Constants("project", "01M8PHTD58FVFXH73FB3GCMS5M", 1 << 62)]


def main() -> None:
    """Print the table."""
    print(f"{POINTS:,} points a part; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("values     keys   row groups   write ns   checksum ns   bytes a number")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "part.parquet"
        for kind in ("random", "loss", "rounded", "constant"):
            for keys in (20, 100, 1000):
                given, extra = points(kind, keys), constants()
                wrote, summed = [], []
                for _ in range(ROUNDS):
                    begin = time.process_time()
                    rows = parts.write_metrics(path, given, {}, *extra)
                    wrote.append(time.process_time() - begin)
                    begin = time.process_time()
                    verify.checksum(path)
                    summed.append(time.process_time() - begin)
                import pyarrow.parquet as pq

                groups = pq.read_metadata(path).num_row_groups
                ns = [1e9 * min(some) / rows for some in (wrote, summed)]
                print(f"{kind:9} {keys:5,} {groups:9,} {ns[0]:13.1f} {ns[1]:10.1f} {path.stat().st_size / rows:14.2f}")


if __name__ == "__main__":
    main()
