"""Last, min, max and count of each key, against what numpy finds in all points."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from steno.ledger.totals import Totals, TotalsTable
from steno.record import Batch, Ref

NUMBERS = [0.0, -0.0, 1.5, -2.25, 1e8 + 0.5, math.nan, math.inf, -math.inf, 3.0, 3.0]
Point = tuple[str, int, int, int, int, Any]
"""key, step, attempt, rank, record, value"""


def made(random: np.random.Generator, *, sets: int, records: int, first: int = 1, ordered: bool = False) -> Batch:
    keysets = tuple(tuple(f"k{set}/{number}" for number in range(int(random.integers(1, 5)))) for set in range(sets))
    chosen = random.integers(0, sets, records).astype(np.int32)
    width = int(sum(len(keysets[number]) for number in chosen))
    step = np.arange(first, first + records) if ordered else random.integers(-5, 30, records)
    value = random.choice(NUMBERS, width)
    special: dict[int, Any] = {}
    for at in np.flatnonzero(random.random(width) < 0.1).tolist():
        kind = int(random.integers(0, 3))
        special[at] = ("text", 2**60 + at, Ref("", "histogram", {"n": at}))[kind]
        value[at] = float(2**60 + at) if kind == 1 else math.nan
    return Batch(
        id=first, node=0, record=np.arange(first, first + records), time=np.zeros(records, np.int64),
        step=step.astype(np.int64), rank=random.integers(0, 3, records).astype(np.int32),
        attempt=random.integers(1, 4, records).astype(np.int32), set=chosen, sets=keysets, value=value, special=special,
    )  # fmt: skip


def points(batch: Batch) -> list[Point]:
    found: list[Point] = []
    at = 0
    for row in range(len(batch)):
        for key in batch.sets[batch.set[row]]:
            place = (int(batch.step[row]), int(batch.attempt[row]), int(batch.rank[row]), int(batch.record[row]))
            found.append((key, *place, batch.special.get(at, float(batch.value[at]))))
            at += 1
    return found


def expected(found: list[Point], hidden: tuple[tuple[int, int], ...]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    shown = [one for one in found if not any(one[2] < attempt and one[1] >= step for attempt, step in hidden)]
    for key in sorted({one[0] for one in shown}):
        mine = sorted((one for one in shown if one[0] == key), key=lambda one: one[1:5])
        last = mine[-1]
        row = {"count": len(mine), "last": last[5], "last_step": last[1], "last_attempt": last[2],
               "last_rank": last[3], "last_record": last[4]}  # fmt: skip
        numbers = [(float(one[5]), one) for one in mine if isinstance(one[5], int | float) and not math.isnan(one[5])]
        for end, best in (("min", min), ("max", max)):
            value, one = best(numbers, key=lambda pair: pair[0]) if numbers else (math.nan, ("", 0, 0, 0))
            row |= {end: value, f"{end}_step": one[1], f"{end}_attempt": one[2], f"{end}_rank": one[3]}
        out[key] = row
    return out


def same(found: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> bool:
    def text(value: Any) -> str:
        return repr(value)  # NaN is NaN, and -0.0 is not 0.0

    return {key: {name: text(row[name]) for name in sorted(row)} for key, row in found.items()} == {
        key: {name: text(row[name]) for name in sorted(row)} for key, row in wanted.items()
    }


def flat(totals: Totals, batch: Batch) -> None:
    rows = points(batch)
    names = list(dict.fromkeys(one[0] for one in rows))
    columns = {name: np.array([one[1 + at] for one in rows]) for at, name in enumerate(("step", "attempt", "rank"))}
    columns["record"] = np.array([one[4] for one in rows])
    special = {at: one[5] for at, one in enumerate(rows) if not isinstance(one[5], float)}
    totals.add_points(names, np.array([names.index(one[0]) for one in rows]), columns, batch.value, special)


@pytest.mark.parametrize("seed", range(40))
def test_totals_are_what_all_points_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    hidden = ((2, 12), (3, 20)) if seed % 2 else ()
    batches, first = [], 1
    for _ in range(8):
        size = int(random.integers(1, 40))
        batches.append(made(random, sets=int(random.integers(1, 7)), records=size, first=first, ordered=seed % 3 == 0))
        first += size
    wanted = expected([one for batch in batches for one in points(batch)], hidden)
    by_set, by_point, united = Totals(hidden), Totals(hidden), Totals(hidden)
    for number, batch in enumerate(batches):
        by_set.add_batch(batch)
        flat(by_point, batch)
        alone = Totals(hidden)
        (flat if number % 2 else lambda totals, one: totals.add_batch(one))(alone, batch)
        united.add_rows(list(alone.ids), alone.rows, alone.reach)
    for totals in (by_set, by_point, united):
        assert same(dict(totals.items()), wanted)
        assert set(totals.ids) == {one[0] for batch in batches for one in points(batch)}


def test_a_rewind_that_hides_nothing_needs_no_second_look() -> None:
    random = np.random.default_rng(1)
    batch = made(random, sets=1, records=20, ordered=True)
    totals = Totals()
    totals.add_batch(batch)
    assert totals.hide(4, 21)
    assert not totals.hide(5, 20)
    assert totals.hidden == ((4, 21), (5, 20))


def test_a_key_of_which_all_is_hidden_is_known_and_has_no_row() -> None:
    batch = replace(made(np.random.default_rng(1), sets=1, records=5), attempt=np.ones(5, np.int32))
    totals = Totals([(2, -100)])
    totals.add_batch(batch)
    assert set(totals.ids) == set(batch.sets[0])
    assert not dict(totals.items())


def test_no_points_are_no_rows() -> None:
    totals = Totals()
    totals.add_points([], np.empty(0, np.int32), {}, np.empty(0), {})
    totals.add_rows([], TotalsTable(), 0)
    assert not dict(totals.items())
