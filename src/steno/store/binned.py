"""The bins of one run at one moment: those next to its parts, and the points that no bin answers for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from steno.ledger import overview
from steno.ledger.bins import concat
from steno.store import part_rows
from steno.store import points as points_
from steno.store.attempts import Choice
from steno.store.engine import require
from steno.store.together import each

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steno.ledger.bins import Bins
    from steno.ledger.snapshot import Part
    from steno.store.binfiles import BinFiles, Level, Stretch
    from steno.store.engine import Engine
    from steno.store.points import Points
    from steno.store.unsealed import RunView


def read(
    engine: Engine, run_dir: Path, view: RunView, keys: Sequence[str], choice: Choice, level: Level, *,
    over_ranks: bool = False,
) -> tuple[Bins, Points]:  # fmt: skip
    """The chosen points of keys: as bins where there are some, and all others as points.

    With `over_ranks` all are of rank 0, and `node` is the rank, by which points of equal steps are in order.

    `key` counts in `keys` in both. The bins are in no order, and of the width that each part has them in.

    Raises:
        PartGone: a part is no longer there.
    """
    found: list[Bins] = []
    whole: dict[tuple[int, ...], list[Part]] = {}
    rows: list[Points] = []
    singly, files = _many(engine, run_dir, view, keys, choice, level, found, over_ranks=over_ranks)
    if over_ranks and level.nearest is not None and choice == Choice(first=choice.first, last=choice.last):
        singly = _near(files, engine, run_dir, singly, keys, level.nearest)
    singles: list[Bins] = []
    for part, wanted in singly:
        if engine.losses and str(run_dir / part.name) in engine.losses:  # what is left of it is what counts
            whole.setdefault(tuple(wanted), []).append(part)
            continue
        answer = files.read(run_dir, part, [keys[number] for number in wanted], choice, level)
        if len(answer.bins):
            singles.append(replace(answer.bins, key=np.array(wanted, np.int32)[answer.bins.key]))
        raw = [replace(stretch, key=wanted[stretch.key]) for stretch in answer.raw]
        missing = tuple(stretch.key for stretch in raw if stretch.first is None)
        if missing:
            whole.setdefault(missing, []).append(part)
        some = [stretch for stretch in raw if stretch.first is not None]
        if some:
            rows += _stretches(engine, run_dir, part, keys, choice, some)
    if singles:
        found.append(overview.folded(concat(singles)) if over_ranks else concat(singles))
    for numbers, parts in whole.items():
        rows.append(sealed(engine, run_dir, parts, keys, numbers, choice))
    inside, outside = _unsealed(engine, run_dir, view, keys, choice, level)
    found += [overview.folded(bins) for bins in inside] if over_ranks else inside
    rows += outside
    if run_dir not in engine.origins:  # bins must not hide that a part was lost
        require(run_dir / part.name for part in view.metrics)
    points = points_.concat([some for some in rows if len(some)])
    if over_ranks:
        points = replace(points, node=points.rank.astype(np.int64), rank=np.zeros(len(points), np.int32))
    return concat(found), points


def _many(
    engine: Engine,
    run_dir: Path,
    view: RunView,
    keys: Sequence[str],
    choice: Choice,
    level: Level,
    found: list[Bins],
    *,
    over_ranks: bool,
) -> tuple[list[tuple[Part, Sequence[int]]], BinFiles]:
    """Adds the bins out of files over many parts; gives the parts that are left, with the keys that have no answer."""
    left: list[tuple[Part, Sequence[int]]] = []
    files = engine.binfiles(run_dir, ())
    covered = engine.covered(run_dir, view.metrics, over_ranks=over_ranks)
    many = [one for one in covered if one.source is not None]
    answers = each(lambda one: files.read(run_dir, one.whole, keys, choice, level, one.source), many)
    of = {one.whole.name: answer for one, answer in zip(many, answers, strict=True)}
    for one in covered:
        wanted: Sequence[int] = range(len(keys))
        answer = of.get(one.whole.name) if one.source is not None else None
        if answer is not None:
            # What a window or a rewind cuts is known better by the bins of each part.
            wanted = sorted({stretch.key for stretch in answer.raw})
            whole = answer.bins.take(~np.isin(answer.bins.key, wanted))
            if len(whole):
                found.append(
                    overview.unpacked(whole) if one.is_over_ranks else overview.folded(whole) if over_ranks else whole
                )
        if wanted:
            left += [(part, wanted) for part in one.parts]
    return left, engine.binfiles(run_dir, [part for part, _ in left])


def _near(
    files: BinFiles, engine: Engine, run_dir: Path, parts: Sequence[tuple[Part, Sequence[int]]], keys: Sequence[str],
    nearest: tuple[int, int],
) -> list[tuple[Part, Sequence[int]]]:  # fmt: skip
    """Of the parts of a run, all of whose points are meant, those that may have the one next to a step, by key."""
    side, edge = nearest
    best: dict[int, int] = {}
    near: list[tuple[Part, dict[int, int | None]]] = []
    for part, wanted in parts:
        mine: dict[int, int | None] = dict.fromkeys(wanted)
        near.append((part, mine))
        if engine.losses and str(run_dir / part.name) in engine.losses:
            continue
        for number, span in zip(wanted, files.spans(run_dir, part, [keys[one] for one in wanted]), strict=True):
            if span is None:
                continue
            # Mirrored, the first point from the step on is the last one before its mirror.
            first, last, before = (span[0], span[1], edge) if side < 0 else (-span[1], -span[0], 1 - edge)
            if first >= before:
                del mine[number]
                continue
            mine[number] = min(last, before - 1)
            best[number] = max(best.get(number, first), last if last < before else first)
    found: list[tuple[Part, Sequence[int]]] = []
    for part, at_most in near:
        some = [number for number, most in at_most.items() if most is None or most >= best[number]]
        if some:
            found.append((part, some))
    return found


def sealed(
    engine: Engine, run_dir: Path, parts: Sequence[Part], keys: Sequence[str], numbers: Sequence[int], choice: Choice,
    steps: tuple[int, int] | None = None,
) -> Points:  # fmt: skip
    """The chosen points of some of the keys, out of the row groups that hold them."""
    if steps is not None:
        first, last = choice.first, choice.last
        low = steps[0] if first is None else max(first, steps[0])
        choice = replace(choice, first=low, last=steps[1] if last is None else min(last, steps[1]))
    wanted = [keys[number] for number in numbers]
    found: list[Points] = []
    left: list[Part] = []
    for part in engine.near(run_dir, parts, wanted, (choice.first, choice.last)):
        some = part_rows.points(engine, run_dir, part, wanted, choice, part_rows.POINT_COLUMNS)
        if some is None:
            left.append(part)
        for at, points in (some or {}).items():
            found.append(replace(points, key=np.full(len(points), numbers[at], np.int32)))
    if left:
        found.append(_left(engine, run_dir, left, keys, numbers, choice))
    return points_.concat([some for some in found if len(some)])


def _left(
    engine: Engine, run_dir: Path, parts: Sequence[Part], keys: Sequence[str], numbers: Sequence[int], choice: Choice
) -> Points:
    """The same of parts that are damaged, or of another format."""
    marks = ", ".join("?" * len(numbers))
    query = f"select key, {points_.SELECTED} from {{parts}} where key in ({marks}) and {choice.sql()}"
    table = engine.table(engine.files(run_dir, parts), query, [keys[number] for number in numbers])
    if table is None or not len(table):
        return points_.concat([])
    return points_.of_arrow(table, {key: number for number, key in enumerate(keys)})


def _stretches(
    engine: Engine, run_dir: Path, part: Part, keys: Sequence[str], choice: Choice, stretches: Sequence[Stretch]
) -> list[Points]:
    """The points of stretches of steps: read from the first to the last one of a key, and then chosen."""
    by_key: dict[int, list[tuple[int, int]]] = {}
    for one in stretches:
        by_key.setdefault(one.key, []).append((one.first or 0, one.last or 0))
    # Keys of a window have the same stretches, or nearly: they are read together.
    numbers = sorted(by_key)
    span = min(min(some)[0] for some in by_key.values()), max(max(last for _, last in some) for some in by_key.values())
    every = sealed(engine, run_dir, [part], keys, numbers, choice, span)
    found = []
    for number in numbers:
        rows = every.take(every.key == number)
        firsts, lasts = np.array(sorted(by_key[number]), np.int64).T
        at = np.searchsorted(firsts, rows.step, side="right") - 1
        found.append(rows.take((at >= 0) & (rows.step <= lasts[at])))
    return found


def _unsealed(
    engine: Engine, run_dir: Path, view: RunView, keys: Sequence[str], choice: Choice, level: Level
) -> tuple[list[Bins], list[Points]]:
    numbers = np.full(len(view.ids), -1, np.int32)
    for number, key in enumerate(keys):
        if key in view.ids:
            numbers[view.ids[key]] = number
    if not (numbers >= 0).any():
        return [], []
    if level.unsealed:
        bins, points = engine.chunkbins().read(run_dir, view.chunks, numbers, choice, level)
        return [replace(one, key=numbers[one.key]) for one in bins if len(one)], [
            renumbered(one, numbers) for one in points
        ]
    found: list[Points] = []
    for chunk in view.chunks:
        some = chunk.points(numbers[chunk.keys] >= 0)
        mask = choice.mask(some)
        found.append(renumbered(some if mask is None else some.take(mask), numbers))
    return [], found


def renumbered(points: Points, numbers: Any) -> Points:
    """The points with other numbers for their keys."""
    return replace(points, key=numbers[points.key])
