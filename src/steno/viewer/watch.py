"""What changes among the runs: looked for by one thread, while somebody watches."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from steno.store.fresh import Fresh
from steno.viewer.news import Changed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from steno.viewer.catalogue import Catalogue

LIVE_SECS: Final = 0.2
_LIST_SECS: Final = 1.0
_SHARE: Final = 0.02
"""Of a core, for looking at the list of runs; a very long one is looked at less often. Waiting costs none."""
_STATES_SECS: Final = 15.0
"""A writer that is killed together with its collector changes no file, so states are judged anew now and then."""


class RunWatch:
    """Polls the files of runs that go on, and the directories of the others; ended runs are not opened.

    Args:
        catalogue: the runs.
        notify: called in the watching thread with (whether the list has changed, the changed runs and their states).
        wanted: whether somebody watches; nothing is looked at otherwise.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        notify: Callable[[bool, dict[str, Changed]], None],
        wanted: Callable[[], bool],
    ) -> None:
        self._catalogue = catalogue
        self._notify = notify
        self._wanted = wanted
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steno-viewer-watch", daemon=True)
        self._dirs: dict[str, int] = {}
        self._live: dict[str, tuple[Path, object]] = {}
        self._fresh: dict[str, Fresh] = {}
        self._states: dict[str, str] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Somebody has come."""
        self._wake.set()

    def close(self) -> None:
        """End the thread within a second."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        next_list = next_states = may_judge = 0.0
        while not self._stop.is_set():
            if not self._wanted():
                self._wake.wait()
                self._wake.clear()
                continue
            now, spent = time.monotonic(), time.thread_time()
            listed, (changed, ended) = False, self._look_at_live()
            if ended:
                next_states = min(next_states, may_judge)
            if now >= next_list:
                listed = self._look_at_list()
                next_list = now + max(_LIST_SECS, (time.thread_time() - spent) / _SHARE)
            if listed or now >= next_states:
                listed |= self._judge(changed)
                may_judge = time.monotonic() + (time.thread_time() - spent) / _SHARE
                next_states = max(time.monotonic() + _STATES_SECS, may_judge)
            if listed or changed:
                self._notify(listed, changed)
            self._stop.wait(LIVE_SECS)

    def _look_at_live(self) -> tuple[dict[str, Changed], bool]:
        """(what changed, whether a run has ended by that)."""
        changed: dict[str, Changed] = {}
        ended = False
        for run, (path, before) in list(self._live.items()):
            now = self._catalogue.stamp(run, path)
            if now != before:
                self._live[run] = (path, now)
                changed[run], goes_on = self._news_of(run, path)
                ended |= not goes_on
        return changed, ended

    def _news_of(self, run: str, path: Path) -> tuple[Changed, bool]:
        state = self._states.get(run)
        if self._catalogue.standing() is not None:
            return Changed(state), True  # a copy has no ledger that says which keys are new
        try:
            known = self._fresh.get(run)
            if known is None:
                self._fresh[run] = known = Fresh(path)
                return Changed(state), known.look().goes_on
            look = known.look()
        except Exception:  # a damaged ledger: all its curves are asked for again
            self._fresh.pop(run, None)
            return Changed(state), True
        return Changed(state, look.keys, look.step), look.goes_on

    def _look_at_list(self) -> bool:
        found = {run: _changed_at(path) for run, path in self._catalogue.ids().items()}
        standing = self._catalogue.standing()
        found[""] = 0 if standing is None else hash(standing["problem"])  # no run has this id
        differs = found != self._dirs
        self._dirs = found
        return differs

    def _judge(self, changed: dict[str, Changed]) -> bool:
        """Look at all runs' states; whether one has another than before. Runs that are not live any more are told."""
        try:
            listed = self._catalogue.listed()
        except OSError:
            return False
        states = {self._catalogue.id_of(one.path): one.state for one in listed}
        for run in states.keys() | self._states.keys():
            if states.get(run) != self._states.get(run):
                changed[run] = Changed(states.get(run))
        differs = states != self._states
        self._states = states
        live = {self._catalogue.id_of(one.path): one.path for one in listed if one.state in {"", "running"}}
        before = self._live
        self._fresh = {run: one for run, one in self._fresh.items() if run in live}
        self._live = {run: before.get(run) or (path, self._catalogue.stamp(run, path)) for run, path in live.items()}
        return differs


def _changed_at(path: Path) -> int:
    """When something was made, renamed or removed in the run's directory: its end, a new start, a first edit."""
    try:
        return os.stat(path).st_mtime_ns ^ _edited_at(path)
    except OSError:
        return 0


def _edited_at(path: Path) -> int:
    try:
        return os.stat(path / "edits.jsonl").st_size
    except OSError:
        return 0
