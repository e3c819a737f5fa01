"""Curves as one long table: a row per bin or point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.ledger.arrow_columns import strings, to_arrow
from steno.store.frame import check, convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from steno.store.bins.curve import BinPoints, Curve

_COUNTS: Final = ("count", "nan", "posinf", "neginf", "other")
_PLACES: Final = ("first", "last", "min", "max")


def frame(curves: Sequence[Curve], x: str, width: float, as_: str) -> Any:
    """See `Curves.frame`."""
    check("step", as_)
    return convert(table(curves, x, width), as_)


def table(curves: Sequence[Curve], x: str, width: float) -> pa.Table:
    """Columns: run, key, rank, kind, x, the counts, first, last, min and max with their steps and times, mean, std."""
    import numpy as np
    import pyarrow as pa

    pieces = [_columns(one, x, width) for one in curves]
    sizes = np.array([len(piece["count"]) for piece in pieces], np.int64)
    of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    total = int(sizes.sum())

    def named(names: list[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(to_arrow(of, pa.int32()), strings(names)).cast(pa.string())

    ranks = np.array([-1 if one.rank is None else one.rank for one in curves], np.int32)
    out = {
        "run": named([one.run for one in curves]),
        "key": named([one.key for one in curves]),
        "rank": to_arrow(ranks[of], pa.int32(), np.array([one.rank is None for one in curves], bool)[of]),
        "kind": named(["point" if one.bins is None else "bin" for one in curves]),
    }
    for name in pieces[0] if pieces else ():
        column = np.concatenate([piece[name] for piece in pieces]) if total else np.empty(0)
        kind = {"M": pa.timestamp("ns", "UTC"), "m": pa.duration("ns"), "i": pa.int64()}.get(column.dtype.kind)
        out[name] = to_arrow(column, kind or pa.float64())
    return pa.table(out)


def _columns(curve: Curve, x: str, width: float) -> dict[str, Any]:
    import numpy as np

    if curve.bins is not None:
        bins = curve.bins
        edges = bins.index * int(width) if x == "step" else bins.index * width
        if x != "step":
            nanos = np.round(edges * 1e9).astype(np.int64)
            edges = nanos.view("datetime64[ns]" if x == "time" else "timedelta64[ns]")
        out: dict[str, Any] = {"x": edges, **{name: getattr(bins, name) for name in _COUNTS}}
        for name in _PLACES:
            out |= _place(name, getattr(bins, name))
        return {**out, "mean": bins.mean, "std": bins.std}
    points = curve.points
    assert points is not None
    finite = np.isfinite(points.value)
    number = ~points.other
    out = {
        "x": points.x,
        "count": np.ones(len(points), np.int64),
        "nan": (np.isnan(points.value) & number).astype(np.int64),
        "posinf": (points.value == np.inf).astype(np.int64),
        "neginf": (points.value == -np.inf).astype(np.int64),
        "other": points.other.astype(np.int64),
    }
    value = np.where(finite, points.value, np.nan)
    for name in _PLACES:
        shown = points.value if name in {"first", "last"} else value
        out |= {name: shown, f"{name}_step": points.step, f"{name}_time": points.time}
    return {**out, "mean": value, "std": np.where(finite, 0.0, np.nan)}


def _place(name: str, place: BinPoints) -> dict[str, Any]:
    return {name: place.value, f"{name}_step": place.step, f"{name}_time": place.time}
