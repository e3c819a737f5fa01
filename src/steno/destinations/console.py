"""The latest values in the terminal, while training runs."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steno.destinations.screen import Screen, ScreenState
    from steno.record import Batch, RunInfo

_MOST_KEYS = 10_000
_STOP_SECS = 1.0
_FORGOTTEN = 0.3
"""Weight of the newest speed in the moving average."""


class Console:
    """A live table of the latest values with the speed, drawn at most twice a second.

    In a notebook the table is one output that is replaced; where the output is no terminal, a plain line at most
    every two seconds. It runs in the process of rank 0, draws on a thread of its own and never raises: an output
    that fails is left alone from then on, one that blocks holds up nothing but the drawing. Nothing is kept, so
    nothing is lost with the process.

    Args:
        keys: patterns such as "train/*" of the keys to show; all when left out.
        rows: most keys in the table or line.
        total: number of steps, where it is known: adds a progress bar.
    """

    kinds = frozenset({"points"})

    def __init__(self, *, keys: Sequence[str] | str = (), rows: int = 20, total: int | None = None) -> None:
        self._patterns = (keys,) if isinstance(keys, str) else tuple(keys)
        if not all(isinstance(pattern, str) for pattern in self._patterns):
            raise TypeError(f"keys are patterns of text, not {keys!r}")
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ValueError(f"rows is a number from 1 on, not {rows!r}")
        if total is not None and (isinstance(total, bool) or not isinstance(total, int) or total < 1):
            raise ValueError(f"total is a number of steps from 1 on, or None, not {total!r}")
        self._rows, self._total = rows, total
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._title = ""
        self._latest: dict[str, tuple[int, Any]] = {}
        self._shown: dict[str, bool] = {}
        self._left_out = 0
        self._step: int | None = None
        self._rate: float | None = None
        self._mark: tuple[int, int] | None = None

    def open(self, run: RunInfo) -> None:
        """Begin to draw."""
        self.close()
        self._title = f"{run.project}/{run.name}"
        self._pid = os.getpid()
        self._changed.clear()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._draw_all, name="steno-console", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        """Note the batch's latest values; the drawing happens later."""
        if not len(batch):
            return
        with self._lock:
            self._take(batch)
        self._changed.set()

    def flush(self) -> None:
        """Nothing: what is noted is drawn within half a second."""

    def close(self) -> None:
        """Draw the last state and leave it standing; waits a second at most."""
        thread, self._thread = self._thread, None
        if thread is None or self._pid != os.getpid():
            return
        self._stopping.set()
        self._changed.set()
        thread.join(_STOP_SECS)

    def _take(self, batch: Batch) -> None:
        """Only the newest record of each key set is looked at, so that a large batch costs little."""
        import numpy as np

        splits = batch.splits()
        last = np.full(len(batch.sets), -1, np.int64)
        last[batch.set] = np.arange(len(batch))
        for index in sorted(int(at) for at in last if at >= 0):
            start, step = int(splits[index]), int(batch.step[index])
            for at, key in enumerate(batch.sets[batch.set[index]], start):
                if self._is_shown(key):
                    self._latest[key] = step, batch.special.get(at, batch.value[at])
        step, now = int(batch.step.max()), int(batch.time[-1])
        if self._mark is None or step < self._mark[0]:
            self._mark = int(batch.step.min()), int(batch.time[0])
        steps, nanos = step - self._mark[0], now - self._mark[1]
        if steps > 0 and nanos > 100_000_000:
            speed = steps / nanos * 1e9
            self._rate = speed if self._rate is None else (1 - _FORGOTTEN) * self._rate + _FORGOTTEN * speed
            self._mark = step, now
        self._step = step

    def _is_shown(self, key: str) -> bool:
        shown = self._shown.get(key)
        if shown is None:
            if len(self._shown) >= _MOST_KEYS:
                return False
            shown = not self._patterns or any(fnmatch.fnmatchcase(key, pattern) for pattern in self._patterns)
            if shown and len(self._latest) >= self._rows:
                self._left_out += 1
                shown = False
            self._shown[key] = shown
        return shown

    def _state(self) -> ScreenState | None:
        from steno.destinations.screen import ScreenState

        if self._step is None:
            return None
        return ScreenState(self._title, self._step, dict(self._latest), self._rate, self._left_out, self._total)

    def _draw_all(self) -> None:
        # A closed terminal, a broken pipe: training goes on, and the records are in the ledger.
        with contextlib.suppress(Exception):
            from steno.destinations.screen import find_screen

            screen = find_screen()
            try:
                self._loop(screen)
            finally:
                screen.close()

    def _loop(self, screen: Screen) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            stopping = self._stopping.is_set()
            with self._lock:
                state = self._state()
            if state is not None:
                screen.draw(state)
            if stopping:
                return
            self._stopping.wait(screen.pause_secs)
