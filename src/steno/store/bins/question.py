"""What is asked of `steno.bins`, checked and in whole numbers."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TICK: Final = 1_953_125
"""Nanoseconds of the narrowest bin of time, 2**-9 s: the smallest power of two of a second that whole ones hold."""
MOST_BINS: Final = 8192
SMOOTHINGS: Final = ("ema", "gaussian", "mean")
AXES: Final = ("step", "time", "relative")


@dataclass(frozen=True, slots=True)
class Smooth:
    """How curves are smoothed; see `smoothing.smooth`."""

    kind: str
    width: float
    """In steps, or in seconds where x is a time."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about the runs that are shown."""

    keys: tuple[str, ...]
    x: str = "step"
    """`step`, `time`, `relative`, or a key."""
    by_key: bool = False
    """Whether `x` is a key."""
    low: float | None = None
    """Smallest x: steps, nanoseconds since 1970 or since the run began, or what the key has."""
    high: float | None = None
    width: int = 500
    ranks: tuple[int, ...] | None = None
    """Only these; None: all."""
    by_rank: bool = False
    """Whether each rank is a series of its own."""
    smooth: Smooth | None = None
    edges: bool = False
    """Whether the nearest point on each side of the range is given too."""

    @property
    def unit(self) -> int:
        """What the narrowest bin holds of x, in whole numbers of it."""
        return 1 if self.x == "step" else TICK


def ask(
    keys: str | Iterable[str],
    x: Any,
    range: Sequence[Any] | None,
    width: Any,
    ranks: Any,
    smooth: Any = None,
    *,
    edges: bool = False,
) -> Question:
    """The question that the arguments of `steno.bins` describe.

    Raises:
        UsageError: an argument is not what it may be.
    """
    asked = [keys] if isinstance(keys, str) else keys
    try:
        wanted = tuple(dict.fromkeys(asked))
    except TypeError:
        wanted = ()
    if not wanted or not all(isinstance(key, str) for key in wanted):
        raise UsageError(f"keys={keys!r}: give a key, or several in a list")
    if not isinstance(x, str) or not x:
        raise UsageError(f'x={x!r}: "step", "time", "relative", or a key of the runs')
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= MOST_BINS:
        raise UsageError(f"width={width!r}: a number of bins from 1 to {MOST_BINS:,} is needed")
    by_key = x not in AXES
    low, high = _range(range, x)
    chosen, by_rank = _ranks(ranks)
    return Question(
        keys=tuple(map(escaped, wanted)),
        x=escaped(x),
        by_key=by_key,
        low=low,
        high=high,
        width=width,
        ranks=chosen,
        by_rank=by_rank,
        smooth=_smooth(smooth, by_key=by_key),
        edges=edges and not by_key and (low, high) != (None, None),
    )


def _smooth(given: Any, *, by_key: bool) -> Smooth | None:
    if given is None:
        return None
    if by_key:
        raise UsageError("smooth= needs an x that does not fall: step, time or relative")
    try:
        kind, width = given
        if kind in SMOOTHINGS and not isinstance(width, bool | str) and 0 < float(width) < math.inf:
            return Smooth(kind, float(width))
    except (TypeError, ValueError, OverflowError):
        pass
    several = ", ".join(map(repr, SMOOTHINGS))
    raise UsageError(f"smooth={given!r}: give (kind, width), a kind of {several} and a width in units of x above 0")


def _range(given: Any, x: str) -> tuple[float | None, float | None]:
    if given is None:
        return None, None
    try:
        low, high = given
    except (TypeError, ValueError):
        raise UsageError(f"range={given!r}: give (first, last), both included; None leaves a side open") from None
    convert = {"step": _step, "time": _moment, "relative": _span}.get(x, _number)
    first, last = (None if bound is None else convert(bound, given, side) for bound, side in ((low, 0), (high, 1)))
    if first is not None and last is not None and first > last:
        raise UsageError(f"range={given!r}: the first is beyond the last")
    return first, last


def _step(bound: Any, given: Any, side: int) -> int:
    number = _number(bound, given, side)
    if math.isinf(number):
        return 2**63 - 1 if number > 0 else -(2**63)
    # A float names what lies between two steps: the range ends at the step inside.
    whole = int(bound) if not isinstance(bound, float) else math.floor(number) if side else math.ceil(number)
    return max(-(2**63), min(2**63 - 1, whole))


def _number(bound: Any, given: Any, _: int) -> float:
    try:
        if not isinstance(bound, str | bytes | bool):
            number = float(bound)
            if not math.isnan(number):
                return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise UsageError(f"range={given!r}: {bound!r} is no number")


def _moment(bound: Any, given: Any, side: int) -> int:
    import numpy as np

    if isinstance(bound, np.datetime64):
        return int(bound.astype("datetime64[ns]").astype(np.int64))
    if isinstance(bound, dt.datetime):
        since = bound.astimezone(dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return (since // dt.timedelta(microseconds=1)) * 1000
    return _nanos(_number(bound, given, side), side)


def _span(bound: Any, given: Any, side: int) -> int:
    import numpy as np

    if isinstance(bound, np.timedelta64):
        return int(bound.astype("timedelta64[ns]").astype(np.int64))
    if isinstance(bound, dt.timedelta):
        return (bound // dt.timedelta(microseconds=1)) * 1000
    return _nanos(_number(bound, given, side), side)


def _nanos(seconds: float, side: int) -> int:
    if abs(seconds) >= 2**63 / 1e9:
        return 2**63 - 1 if seconds > 0 else -(2**63)
    whole = seconds * 1_000_000_000
    return math.floor(whole) if side else math.ceil(whole)


def _ranks(given: Any) -> tuple[tuple[int, ...] | None, bool]:
    if given is None:
        return None, False
    if isinstance(given, str):
        if given == "all":
            return None, True
    else:
        try:
            several = [given] if hasattr(given, "__index__") else list(given)
            if several and not any(isinstance(rank, bool) for rank in several):
                return tuple(sorted({int(rank.__index__()) for rank in several})), True
        except (TypeError, AttributeError):
            pass
    raise UsageError(f'ranks={given!r}: None for all together, "all" for each on its own, a rank, or a list of ranks')
