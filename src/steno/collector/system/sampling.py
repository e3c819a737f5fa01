"""Measures at an interval, on threads of its own, for as long as somebody logs."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from steno.collector.system.gpus import Gpus
from steno.collector.system.host import Host
from steno.ledger.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from steno.collector.system.probe import Measured, Probe

PREFIX = "system/"
_LOOK_SECS = 1.0
_FIRST_SECS = 1.0
_WAITING = 1_000
"""Samples kept while nothing can be posted; then the oldest go."""


class Sampling:
    """Each probe has a thread: one that hangs (a driver, a network file system) holds up neither posting nor others.

    `look` and `take` are for the collector's main thread. Samples that are not taken when the process dies are lost.

    Args:
        run_dir: the run's directory.
        wanted: asked once a second: the interval in seconds, None as long as the run asks for no metrics.
        say: tells a person, once per key.
        probes: None: this machine's.
    """

    def __init__(
        self,
        run_dir: Path,
        wanted: Callable[[], float | None],
        say: Callable[[str, str], None],
        probes: Iterable[Probe] | None = None,
    ) -> None:
        self._wanted = wanted
        self._say = say
        self._probes: list[Probe] = list(probes) if probes is not None else [Host(run_dir), Gpus(self._trouble)]
        self._every_secs: float | None = None
        self._processes: Mapping[int, frozenset[int]] = {}
        self._ready: deque[tuple[int, int, Measured]] = deque(maxlen=_WAITING)
        self._troubles: deque[str] = deque(maxlen=_WAITING)
        self._said: set[str] = set()
        self._stop = threading.Event()
        self._next_look = 0.0
        self._started = False

    def look(self, now: float, processes: Callable[[], Mapping[int, frozenset[int]]]) -> None:
        """Begin when the run asks for it; note who logs, by rank. Cheap; at most once a second."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECS
        self._every_secs = self._wanted()
        self._processes = processes() if self._every_secs is not None else {}
        if self._processes and not self._started:
            self._started = True
            for probe in self._probes:
                threading.Thread(target=self._work, args=(probe,), name=f"steno-{probe.name}", daemon=True).start()

    def take(self) -> tuple[list[Sample], list[str]]:
        """Samples since the last call, and what went wrong for the first time."""
        samples, troubles = [], []
        lowest = min(self._processes, default=0)
        while self._ready:
            mono, wall, (rank, values) = self._ready.popleft()
            named = {PREFIX + key: float(value) for key, value in values.items()}
            samples.append(Sample(mono, wall, lowest if rank is None else rank, named))
        while self._troubles:
            troubles.append(self._troubles.popleft())
        return samples, troubles

    def stop(self) -> None:
        """Measure no more; does not wait for a probe that hangs."""
        self._stop.set()

    def _trouble(self, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._troubles.append(message)
            self._say(f"system {key}", message)

    def _work(self, probe: Probe) -> None:
        try:
            if not probe.open():
                return
        except Exception as error:
            remedy = " Install it with: pip install 'stenolog[system]'" if isinstance(error, ImportError) else ""
            self._trouble(probe.name, f"there are no system metrics of {probe.name}: {error}.{remedy}")
            return
        before = time.monotonic()
        due = before + min(self._every_secs or _FIRST_SECS, _FIRST_SECS)
        while not self._stop.wait(max(due - time.monotonic(), 0.0)):
            every_secs, processes, now = self._every_secs, self._processes, time.monotonic()
            if every_secs is None or not processes:
                due = before = now + _LOOK_SECS
                continue
            try:
                for one in probe.sample(max(now - before, 1e-3), processes):
                    self._ready.append((time.monotonic_ns(), time.time_ns(), one))
            except Exception as error:
                self._trouble(probe.name, f"a system metric of {probe.name} could not be read: {error!r}")
            # One that took longer than the interval is not made up for.
            before, due = now, max(due + every_secs, time.monotonic())
        try:
            probe.close()
        except Exception:  # the samples are taken: what closing lacks costs nobody anything
            pass
