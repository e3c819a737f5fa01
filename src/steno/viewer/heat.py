"""`api/media-heat`: histograms over steps, as a grid of bins and steps that is drawn as a heat map."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from steno.errors import StenoError, UsageError
from steno.record import Ref
from steno.store.media import value_of
from steno.viewer import answers, asked
from steno.viewer.wire import MEDIA_TYPE, ColumnWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from starlette.requests import Request

    from steno.viewer.catalogue import Catalogue
    from steno.viewer.gallery import Gallery, ShownMedia

_MOST_RUNS: Final = 100
_MOST_BINS: Final = 512
_MOST_COLUMNS: Final = 2000
_AS_LOGGED: Final = 512
"""So many bins that are the same in all histograms are shown as they are."""

Bins = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""(edges, counts) of one histogram."""


class Heat:
    """The histograms of runs over steps."""

    def __init__(self, catalogue: Catalogue, gallery: Gallery) -> None:
        self._catalogue = catalogue
        self._gallery = gallery

    async def heat(self, request: Request) -> Response:
        """`api/media-heat`."""
        given = await asked.body(request)
        return Response(await run_in_threadpool(self._heat, given), media_type=MEDIA_TYPE)

    def _heat(self, given: Mapping[str, Any]) -> bytes:
        key, ids = asked.text(given, "key"), asked.texts(given, "runs", _MOST_RUNS)
        if key is None or ids is None:
            raise UsageError("key and runs are needed: whose histograms")
        width = asked.whole(given, "width", 200, 1, _MOST_COLUMNS)
        wanted = asked.whole(given, "bins", 64, 1, _MOST_BINS)
        low, high = asked.number(given, "from"), asked.number(given, "to")
        found: list[tuple[str, str, list[tuple[int, Bins]], dict[str, int]]] = []
        problems: list[dict[str, str]] = []
        for run in ids:
            try:
                shown = [
                    one
                    for one in self._gallery.of(run, key)
                    if (low is None or one.step >= low) and (high is None or one.step <= high)
                ]
                root = self._catalogue.path(run)
            except StenoError as error:
                problems.append({"run": run, **answers.said(error)})
                continue
            for name in sorted({one.key for one in shown}):
                left_out = {"outside": 0, "damaged": 0}
                read = _read(
                    partial(self._catalogue.have, run), root, [one for one in shown if one.key == name], left_out
                )
                if read or left_out["damaged"]:
                    found.append((run, name, read, left_out))
        edges, as_logged = _common([bins for _, _, read, _ in found for _, bins in read], wanted)
        columns = ColumnWriter()
        series = []
        for run, name, read, left_out in found:
            grid, first, last, merged = _grid(read, edges, width, as_logged=as_logged)
            whole = as_logged and bool((grid == np.floor(grid)).all()) and float(grid.max(initial=0)) < 2**32
            count = columns.add(grid.reshape(-1).astype(np.uint32) if whole else grid.reshape(-1), narrow=True)
            series.append(
                {
                    "run": run, "key": name, "kind": "heat", "rows": grid.size, "points": len(read), "first": first,
                    "last": last, "merged": merged, **left_out, "columns": {"count": count},
                }
            )  # fmt: skip
        card = {"id": key, "edges": edges.tolist(), "as_logged": as_logged, "series": series, "problems": problems}
        return columns.encode({"cards": [card]})


def _read(
    have: Callable[[str], None], root: Path, shown: Sequence[ShownMedia], left_out: dict[str, int]
) -> list[tuple[int, Bins]]:
    """By step, what can be read of histograms; `told` counts what cannot, and the values outside of all bins."""
    found = []
    for one in shown:
        if not isinstance(one.value, Ref) or one.value.kind != "histogram":
            continue
        try:
            if one.value.file is not None:
                have(one.value.file)
            value = value_of(root, one.value)
            edges, counts = (np.asarray(value[name], np.float64) for name in ("edges", "counts"))
            is_valid = edges.ndim == counts.ndim == 1 and len(edges) == len(counts) + 1 > 1
            if not is_valid or not np.isfinite(edges).all() or (np.diff(edges) < 0).any() or not (counts >= 0).all():
                raise ValueError("edges and counts do not fit")
            left_out["outside"] += int(value.get("outside") or 0)
        except Exception:  # one damaged histogram costs its own column alone
            left_out["damaged"] += 1
            continue
        found.append((one.step, (edges, counts)))
    return found


def _common(all_: Sequence[Bins], wanted: int) -> tuple[NDArray[np.float64], bool]:
    """(edges for all histograms, whether they are those that were logged)."""
    if not all_:
        return np.array([0.0, 1.0]), True
    first = all_[0][0]
    if len(first) <= _AS_LOGGED + 1 and all(len(edges) == len(first) and (edges == first).all() for edges, _ in all_):
        return first, True
    low, high = np.inf, -np.inf
    for edges, counts in all_:
        used = np.flatnonzero(counts)
        if len(used):
            low, high = min(low, edges[used[0]]), max(high, edges[used[-1] + 1])
    if low > high:
        low, high = 0.0, 1.0
    if not low < high:
        low, high = low - 0.5, high + 0.5
    with np.errstate(over="ignore"):
        # Halves first: the distance of the largest float64 from its negative is none.
        part = np.linspace(0, 1, wanted + 1)
        made = low * (1 - part) + high * part
    made[0], made[-1] = low, high
    return np.maximum.accumulate(made), False


def shared_out(bins: Bins, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The counts in other bins: a logged bin that lies across several is shared out by how much of it lies in each."""
    own, counts = bins
    below = np.concatenate([[0.0], np.cumsum(counts)])
    return np.diff(np.interp(edges, own, below))


def _grid(
    read: Sequence[tuple[int, Bins]], edges: NDArray[np.float64], width: int, *, as_logged: bool
) -> tuple[NDArray[np.float64], list[int], list[int], int]:
    """((columns, bins) of counts, each column's first and last step, how many histograms a column adds up)."""
    merged = max(1, -(-len(read) // width))
    columns = -(-len(read) // merged)
    grid = np.zeros((columns, len(edges) - 1))
    for at, (_, bins) in enumerate(read):
        grid[at // merged] += bins[1] if as_logged else shared_out(bins, edges)
    steps = [step for step, _ in read]
    return grid, steps[::merged], [steps[min(len(steps), (at + 1) * merged) - 1] for at in range(columns)], merged
