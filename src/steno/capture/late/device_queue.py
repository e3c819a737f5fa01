"""The thread that waits for devices, so that nobody else does: late values in order, each handed to its sink."""

from __future__ import annotations

import _thread
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.devices import found
from steno.devices.base import Late, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MOST: Final = 65_536
"""Late values that may wait together."""
MOST_BYTES: Final = 256 << 20
_LOOK_SECS: Final = 0.005
_HURRY_SECS: Final = 0.0005
_QUIET_LOOKS: Final = 20
_TURN: Final = 8
"""Values handled before other threads get a turn."""


@dataclass(slots=True)
class Account:
    """What one owner's late values have come to. Read it from any thread."""

    full: str = "oldest"
    """Which value is given up when there is no room: oldest, newest, or none: wait."""
    waiting: int = 0
    arrived: int = 0
    given_up: int = 0
    failed: int = 0
    waited_secs: float = 0.0
    """Time that `log` spent waiting for room, with full="wait"."""


@dataclass(slots=True)
class _Job:
    late: Late
    sink: Callable[[list[Any]], None]
    account: Account
    size_bytes: int


class DeviceQueue:
    """Late values of this process, by lane, and the one thread that reads them.

    Thread-safe; `submit` may be called in a signal handler, also in one that has interrupted `submit`. A forked
    child begins empty: the values are its parent's. What waits here is lost when the process dies.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        # Its holder may take it again: a handler that logs while this thread holds it must not wait for itself.
        self._lock = threading.RLock()
        self._lanes: dict[Hashable, deque[_Job]] = {}
        self._count = 0
        self._bytes = 0
        self._wake = _thread.allocate_lock()
        self._thread: threading.Thread | None = None
        self._asleep = False
        self.hurried = 0
        self._ended = False

    # -- the caller's side ------------------------------------------------------------------------------

    def submit(self, late: Late, sink: Callable[[list[Any]], None], account: Account) -> None:
        """Hand `sink` the values on the worker's thread when they are there; never waits, unless full="wait".

        Beyond `MOST` values or `MOST_BYTES` something is given up and counted, as the account says.
        """
        size = late.size_bytes
        if self._count >= MOST or (self._bytes + size > MOST_BYTES and self._count):
            try:
                self._shrink(late.lane, size, account)
            except Refused:
                late.drop()
                return
        job = _Job(late, sink, account, size)
        with self._lock:
            lane = self._lanes.get(late.lane)
            if lane is None:
                lane = self._lanes[late.lane] = deque()
            lane.append(job)
            self._count += 1
            self._bytes += size
            account.waiting += 1
        if self._thread is None:
            self._start()
        elif self._asleep:
            self._nudge()

    def _shrink(self, lane: Hashable, size: int, account: Account) -> None:
        while self._count >= MOST or (self._bytes + size > MOST_BYTES and self._count):
            late = self.reuse(lane, account, any_lane=True)
            if late is not None:
                late.drop()

    def reuse(self, lane: Hashable, account: Account, *, any_lane: bool = False) -> Late | None:
        """See `steno.devices.base.Room.reuse`; with `any_lane`, another lane's value may be the one given up."""
        if account.full == "oldest":
            with self._lock:
                jobs = self._lanes.get(lane)
                if not jobs and any_lane:
                    jobs = max(self._lanes.values(), key=len, default=None)
                job = jobs.popleft() if jobs else None
                if job is not None:
                    self._gone(job)
                    job.account.given_up += 1
                    return job.late
        elif account.full == "wait" and threading.current_thread() is not self._thread:
            began = time.monotonic()
            with self._hurry():
                time.sleep(_HURRY_SECS)
            account.waited_secs += time.monotonic() - began
            return None
        account.given_up += 1
        msg = "too many device values are on their way"
        raise Refused(msg)

    def room(self, account: Account) -> Any:
        """A `Room` that acts as the account says."""
        return _Room(self, account)

    def drain(self, account: Account, deadline: float | None) -> bool:
        """Wait until every value of the account has come; False at the deadline (monotonic seconds)."""
        with self._hurry():
            while account.waiting > 0:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                if threading.current_thread() is self._thread:
                    return False
                time.sleep(_HURRY_SECS)
        return True

    def abandon(self, account: Account) -> None:
        """Give up what is still on its way for this account."""
        with self._lock:
            for lane in self._lanes.values():
                for job in [job for job in lane if job.account is account]:
                    lane.remove(job)
                    self._gone(job)
                    account.given_up += 1
                    job.late.drop()

    def end(self) -> None:
        """Let the thread go: of a queue that is not the process's own. What waits is never handed over."""
        self._ended = True
        self._nudge()

    def _hurry(self) -> _Hurry:
        return _Hurry(self)

    def _gone(self, job: _Job) -> None:
        self._count -= 1
        self._bytes -= job.size_bytes
        job.account.waiting -= 1

    # -- the worker -------------------------------------------------------------------------------------

    def _nudge(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:
            pass

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="steno-devices", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        wake = self._wake
        quiet = 0
        while not self._ended:
            quiet = quiet + 1 if not self._count else 0
            self._turn()
            # A while longer, so that a loop that logs does not have to wake this thread at each step.
            if quiet < _QUIET_LOOKS:
                time.sleep(_HURRY_SECS if self.hurried else _LOOK_SECS)
                continue
            self._asleep = True
            # Whoever submits after this line sees us asleep; whoever did before is counted.
            if not self._count:
                wake.acquire(timeout=1.0)
            self._asleep = False

    def _turn(self) -> None:
        """Handle everything that has arrived."""
        handled = 0
        for lane in list(self._lanes.values()):
            while True:
                with self._lock:
                    if not lane or not _ready(lane[0].late):
                        break
                    job = lane.popleft()
                self._handle(job)
                handled += 1
                if handled % _TURN == 0:
                    time.sleep(0)
        if not self._count:
            with self._lock:
                if not self._count:
                    # Here the sums are known; whatever an interrupted update has lost ends.
                    self._bytes = 0
                    self._lanes = {name: lane for name, lane in self._lanes.items() if lane}

    def _handle(self, job: _Job) -> None:
        try:
            try:
                values = job.late.read()
            except Exception as error:
                # The sink knows the keys, so that it can say for which.
                values = [Refused(f"it could not be read: {error!r:.200}")] * len(job.late.places)
            job.sink(values)
            job.account.arrived += 1
        except Exception:
            job.account.failed += 1
        finally:
            with self._lock:
                self._gone(job)


class _Hurry:
    """While somebody waits, the worker looks more often."""

    __slots__ = ("_queue",)

    def __init__(self, queue: DeviceQueue) -> None:
        self._queue = queue

    def __enter__(self) -> None:
        self._queue.hurried += 1

    def __exit__(self, *_: object) -> None:
        self._queue.hurried -= 1


class _Room:
    __slots__ = ("_account", "_queue")

    def __init__(self, queue: DeviceQueue, account: Account) -> None:
        self._queue = queue
        self._account = account

    def reuse(self, lane: Hashable) -> Late | None:
        return self._queue.reuse(lane, self._account)


def _ready(late: Late) -> bool:
    try:
        return late.ready()
    except Exception:
        # `read` meets the same fault and tells it.
        return True


conceal: Final = found.conceal
QUEUE: Final = DeviceQueue()
"""This process's queue; its thread starts with the first late value."""


def _forked() -> None:
    QUEUE.begin_anew()
    found.forget()


os.register_at_fork(after_in_child=_forked)
