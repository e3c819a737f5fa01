"""Every point of some keys as lines of CSV, exact, a series at a time."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError
from steno.record import Ref
from steno.viewer.answers import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from steno.store.reader import RunReader
    from steno.store.series import Series

COLUMNS: Final = ("run", "key", "rank", "step", "time", "value")
_ROWS: Final = 10_000


def lines(
    readers: Sequence[tuple[str, RunReader]], keys: Sequence[str], x: str, first: float | None, last: float | None
) -> Iterator[bytes]:
    """A head, then a line per point; a float as the shortest text that is it again, so nothing is rounded.

    Args:
        readers: (id, reader) of each run.
        keys: which.
        x: what `first` and `last` bound: "step", "time" (seconds since 1970) or "relative".
        first, last: both included; None leaves a side open.
    """
    yield _line([COLUMNS])
    for run, reader in readers:
        began = reader.info.started or 0
        for key in keys:
            try:
                series = reader.series(key)
            except StenoError:
                continue  # this run has no such key
            yield from _of(run, series, x, began, first, last)


def _of(run: str, series: Series, x: str, began: int, first: float | None, last: float | None) -> Iterator[bytes]:
    import numpy as np

    nanos = series.time.astype(np.int64)
    at = series.step if x == "step" else (nanos - (began if x == "relative" else 0)) / 1e9
    rows = np.flatnonzero((at >= (-np.inf if first is None else first)) & (at <= (np.inf if last is None else last)))
    for begin in range(0, len(rows), _ROWS):
        some = series.take(rows[begin : begin + _ROWS])
        columns = (some.rank.tolist(), some.step.tolist(), some.time.astype(np.int64).tolist(), some.exact.tolist())
        yield _line(
            (run, some.key, rank, step, moment(time), _text(value))
            for rank, step, time, value in zip(*columns, strict=True)
        )


def _text(value: Any) -> Any:
    return (value.file or value.kind) if isinstance(value, Ref) else value


def _line(rows: Any) -> bytes:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue().encode()
