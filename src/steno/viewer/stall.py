"""Whether a run that goes on still records, whether one is gone without a word, and when its files last changed."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from steno.errors import StenoError
from steno.store import stamps, unseen

if TYPE_CHECKING:
    from pathlib import Path

    from steno.store.run_summary import RunSummary
    from steno.viewer.catalogue import Catalogue

_LEAST_SECS: Final = 60.0
_INTERVALS: Final = 5
_RECORDS: Final = 200
"""The last ones, of which the median interval is taken."""
_KEPT_SECS: Final = 30.0


class Stall:
    """Judges runs that go on. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._typical: dict[str, tuple[float, float]] = {}
        """By run: when it was judged (monotonic), the median seconds between its last records."""
        self._gone: dict[Path, tuple[object, bool]] = {}

    def judge(self, one: RunSummary) -> float | None:
        """Seconds since the last record, where that is more than max(60 s, 5 times the run's own median interval)."""
        if one.state != "running":
            return None
        last = last_change(one.path)
        silent = 0.0 if last is None else time.time() - last
        if silent <= _LEAST_SECS or silent <= _INTERVALS * self._interval(self._catalogue.id_of(one.path)):
            return None
        return round(silent, 1)

    def is_gone(self, one: RunSummary) -> bool:
        """Whether a crashed run's writers are not there any more, but nobody has found out how they ended.

        Their locks are free or their stamps old, and no collector was there to see it: the machine went down, or is
        out of reach. A run whose end was seen is crashed and no more.
        """
        if one.state != "crashed":
            return False
        now = stamps.of_live(one.path)
        with self._lock:
            known = self._gone.get(one.path)
        if known is not None and known[0] == now:
            return known[1]
        gone = unseen.ended_so(one.path)
        with self._lock:
            self._gone[one.path] = (now, gone)
        return gone

    def _interval(self, run: str) -> float:
        with self._lock:
            known = self._typical.get(run)
        if known is not None and time.monotonic() - known[0] < _KEPT_SECS:
            return known[1]
        try:
            times = sorted(one.time for one in self._catalogue.reader(run).tail(last=_RECORDS, follow=False))
        except StenoError:
            times = []
        gaps = [(after - before) / 1e9 for before, after in pairwise(times)]
        typical = median(gaps) if gaps else 0.0
        with self._lock:
            self._typical[run] = (time.monotonic(), typical)
        return typical


def last_change(path: Path) -> float | None:
    """When a run's ledgers last changed, in seconds since 1970; None: it has none."""
    return max((mtime / 1e9 for _, _, mtime, _ in stamps.of_live(path)), default=None)
