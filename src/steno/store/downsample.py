"""Which points of a series to draw when there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 2
_SMALL = 16  # below it M4 has no room in addition to the marks; the rows that matter most are taken by hand


def check_points(points: object) -> None:
    """Raise UsageError for what is no number of points."""
    import numpy as np

    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < FEWEST:
        msg = f"points={points!r}: a series is downsampled to an integer of at least {FEWEST} points"
        raise UsageError(msg)


def downsample(value: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Row numbers, rising, of at most `points` rows that keep the shape of `value`.

    Always among them: one each of the smallest and the largest value (±inf included), and from 4 points on
    the first and the last row. Runs of NaN keep their first and last row, up to an eighth of `points` runs, evenly
    chosen beyond that. The rest is M4 (first, last, min and max of each of `points / 4` equal bins) by
    tsdownsample, over the rows that are not NaN.

    Args:
        value: float64, shape (n,), in the order it will be drawn.
        points: at least 2.

    Raises:
        UsageError: `points` is not an integer of at least 4.
    """
    import numpy as np

    check_points(points)
    count, limit = len(value), int(points)
    if count <= limit:
        return np.arange(count)
    missing = np.isnan(value)
    if not missing.any():
        if limit < _SMALL:
            return _few(value, limit)
        return _m4(value, limit // 4 * 4)
    plain = np.flatnonzero(~missing)
    if not len(plain):
        return np.unique(np.linspace(0, count - 1, limit).astype(np.int64))
    if limit < _SMALL:
        return _few(value, limit)
    # An end that is NaN belongs to the first or last run, which are always chosen; any other end M4 keeps.
    runs = _runs(missing, limit // 8)
    return np.union1d(runs, plain[_m4(value[plain], (limit - len(runs)) // 4 * 4)])


def _few(value: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Smallest, largest, last and first row, as many of them as there may be, and rows evenly between."""
    import numpy as np

    between = np.linspace(0, len(value) - 1, limit).astype(np.int64).tolist()
    wanted = dict.fromkeys((int(np.nanargmin(value)), int(np.nanargmax(value)), len(value) - 1, 0, *between[1:-1]))
    return np.array(sorted(list(wanted)[:limit]), np.int64)


def _runs(missing: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """First and last row of runs of True: all of them, or `most` of them evenly chosen."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.r_[False, missing, False].astype(np.int8)))
    starts, ends = edges[0::2], edges[1::2] - 1
    if len(starts) > most:
        some = np.unique(np.linspace(0, len(starts) - 1, most).astype(np.int64))
        starts, ends = starts[some], ends[some]
    return np.concatenate([starts, ends])


def _m4(value: NDArray[np.float64], room: int) -> NDArray[np.int64]:
    """M4 over equal counts of rows.

    Not over equal widths of steps: with those tsdownsample returns nothing for a series at one step and
    aborts for n_out=4, and rows of a long gap would be given up for empty bins.
    """
    import numpy as np
    from tsdownsample import M4Downsampler

    if len(value) <= room:
        return np.arange(len(value))
    last = len(value) - 1
    found = M4Downsampler().downsample(np.ascontiguousarray(value), n_out=room)
    if int(found[-1]) != last:  # the edges of its bins are rounded, and the last row may be beyond them
        found = [*M4Downsampler().downsample(np.ascontiguousarray(value), n_out=room - 4), last]
    return np.unique(np.asarray(found)).astype(np.int64)
