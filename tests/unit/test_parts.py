"""Parts of one key set, laid out as a table, hold what the general way writes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from steno.ledger import parts
from steno.ledger.layout import Constants
from steno.record import Ref

if TYPE_CHECKING:
    from pathlib import Path


SAME = Constants("p", "r", -5)


def some_points(rows: int, ranks: int, *, ordered: bool) -> parts.Points:
    random = np.random.default_rng(rows + ranks)
    width = 3
    step = np.arange(rows) if ordered else random.integers(0, rows, rows)
    return parts.Points(
        record=np.arange(rows),
        time=np.arange(rows) * 1000 + 10**18,
        step=step,
        rank=random.integers(0, ranks, rows).astype(np.int32),
        attempt=np.ones(rows, np.int32),
        batch=np.arange(rows) // 10,
        start=np.arange(rows) * width,
        width=np.full(rows, width),
        first=np.zeros(rows, np.int64),
        ranks=np.array([2, 0, 1], np.uint16),
        names=["a", "b/é", "c"],
        value=random.random(rows * width),
        special={1: 2**60, 5: "text", 7: Ref("ab", "image", {}), 8: 2**70},
        meta={2: '{"level":1}', rows - 1: '{"level":2}'},
    )


@pytest.mark.parametrize("rows", [4, 6000])
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_table_is_written_as_any_points(
    rows: int, ranks: int, ordered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = some_points(rows, ranks, ordered=ordered)
    monkeypatch.setattr(parts, "GROUP_ROWS", 1 << 12)
    monkeypatch.setattr(parts, "_STRETCH_ROWS", 1 << 10)
    parts.write_metrics(tmp_path / "table.parquet", points, {}, SAME)
    # The same key set, entered twice: no longer known for a table.
    twice = dataclasses.replace(
        points, ranks=np.tile(points.ranks, 2), first=np.where(np.arange(rows) % 2, 3, 0).astype(np.int64)
    )
    parts.write_metrics(tmp_path / "any.parquet", twice, {}, SAME)
    table, other = pq.read_table(tmp_path / "table.parquet"), pq.read_table(tmp_path / "any.parquet")
    assert table.to_pylist() == other.to_pylist()
    assert table["value"].null_count == 2
    assert table["exact"].drop_null().to_pylist() == [2**60]
