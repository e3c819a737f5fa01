"""Calls the methods of one `Callback` or `LoggerDestination` with what this process logs."""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from steno.capture.artifacts.call_files import files_for_call
from steno.capture.inprocess.media_value import HELD_BYTES, MediaValue, media_in
from steno.errors import safe_repr
from steno.events.destination import LoggerDestination
from steno.events.event import Event
from steno.events.level import LogLevel
from steno.events.progress import Progress, duration
from steno.events.state import State
from steno.journal.verbatim import fill, holes_in, without_holes
from steno.record import ARTIFACT, EVENT, LATE, LOGGED, START, Entry, Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.events.logger import EventLogger
    from steno.record import Batch, RunInfo

PATIENCE_SECS: Final = 2.0
"""How long a call waits for what a device still has of its record."""
_HELD: Final = 10_000
"""Calls that wait behind such a one; beyond them the oldest is made as it is."""
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
_METHODS: Final = ("log_data", "log_file_artifact", "log_symlink_artifact")


class Listener:
    """A destination of four methods around an object that has one for each call. All run on the feed's thread.

    Whatever a call raises, `SystemExit` and its like too, is reported to `failed` and ends there: nothing is repeated,
    and the next call follows. At the end `close` is called, and `post_close` unless that raised.

    Args:
        target: the user's object.
        rank: of this process.
        logger: makes what event methods log with, for the run's name.
        failed: called with (error, which method raised it, where).
        done: called with each record and entry when its call is over.
    """

    def __init__(
        self,
        target: Any,
        *,
        rank: int,
        logger: Callable[[str], EventLogger],
        failed: Callable[[BaseException, str], None],
        done: Callable[[], None],
    ) -> None:
        self._target = target
        self._rank = rank
        self._make_logger = logger
        self._failed = failed
        self._done = done
        self._own = {name: method for name in _METHODS if (method := _overridden(target, name)) is not None}
        kept = {"log_data": "points", "log_file_artifact": ARTIFACT, "log_symlink_artifact": ARTIFACT}
        self.kinds = frozenset({EVENT, START, *(kept[name] for name in self._own)})
        self._closed = self._may_end = False
        self._held: deque[Any] = deque()
        """What is still to be called, in order: entries and `_Data`."""
        self._waiting: dict[int, _Data] = {}

    def open(self, run: RunInfo) -> None:
        """Call `init`, as the first event."""
        self._run_dir = run.dir
        self._logger = self._make_logger(run.name)
        self._progress = Progress(
            State(run.name, max_duration=duration(run.config.get("max_duration")), rank=self._rank)
        )
        self._event(Event.INIT, {}, 0, 0)

    def write(self, batch: Batch) -> None:
        """Call what belongs to each record and entry, in the order of their calls.

        A record of which a device has a part waits for it, and what came behind the record waits with it.
        """
        try:
            self._hold(batch)
        except Exception as error:
            # Raised on, the batch would be given again, and calls that were made would be repeated.
            self._failed(error, f"a batch could not be read: {safe_repr(error)}{_place(error)}")
        self.advance(False)

    def _hold(self, batch: Batch) -> None:
        room = HELD_BYTES
        for one in self._in_order(batch):
            if one.__class__ is not Entry:
                for value in media_in(one.values):
                    room = value.hold(room)
                if one.is_late and one.number in self._waiting:
                    held = self._waiting[one.number]
                    fill(held.values, one.values)
                    held.holes -= one.values.keys()
                    continue
                if one.holes:
                    one.until = time.monotonic() + PATIENCE_SECS
                    self._waiting[one.number] = one
            self._held.append(one)

    def _in_order(self, batch: Batch) -> list[Any]:
        """Entries and `_Data` in the order of their calls; late values with their record, if it is here."""
        splits, values = batch.splits().tolist(), batch.value.tolist()
        for point, special in batch.special.items():
            values[point] = special
        items: list[tuple[int, Any]] = [(entry.record, entry) for entry in batch.entries if entry.record]
        for row, (number, chosen) in enumerate(zip(batch.record.tolist(), batch.set.tolist(), strict=True)):
            meta = batch.meta.get(row, {})
            logged, holes = meta.get(LOGGED), set()
            if logged is None:
                logged = dict(zip(batch.sets[chosen], values[splits[row] : splits[row + 1]], strict=True))
            else:
                logged, holes = _shown(logged, self._run_dir), holes_in(logged)
            if logged:
                items.append((number, _Data(number, _level(meta.get("level")), logged, LATE in meta, holes)))
        items.sort(key=itemgetter(0))
        return [item for _, item in items]

    def advance(self, everything: bool) -> None:
        """Make the calls that need not wait any more; all of them, if somebody waits for that."""
        held, now = self._held, time.monotonic()
        while held:
            one = held[0]
            if one.__class__ is not Entry:
                if one.holes and not everything and now < one.until and len(held) < _HELD:
                    return
                self._waiting.pop(one.number, None)
            held.popleft()
            if one.__class__ is not Entry:
                values = without_holes(one.values)
                if values:
                    self._call("log_data", self._at(one.number), one.level, values)
            elif one.kind == EVENT:
                name = str(one.payload.get("name"))
                if name in Event._value2member_map_ and name != Event.INIT:
                    said = {key: value for key, value in one.payload.items() if key != "name"}
                    self._event(Event(name), said, one.record, one.time)
            elif one.kind == ARTIFACT:
                self._artifact(one)
            elif one.kind == START:
                self._progress.begin(one.time)
            self._done()

    def flush(self) -> None:
        """Nothing: what was called is done."""

    def end(self) -> None:
        """The run ends: call `close`."""
        if not self._closed:
            self._closed = True
            self._may_end = self._hand("close", self._target.close, self._state(self._progress.now), self._logger)

    def close(self) -> None:
        """Call `post_close`, unless `close` has raised or was never reached."""
        if self._may_end:
            self._may_end = False
            self._hand("post_close", self._target.post_close)

    def _artifact(self, entry: Entry) -> None:
        said, state = entry.payload, self._at(entry.record)
        level, overwrite = _level(said.get("level"), LogLevel.FIT), bool(said.get("overwrite"))
        if said.get("op") == "link":
            self._call("log_symlink_artifact", state, level, said["target"], said["name"], overwrite=overwrite)
        elif said.get("op") in {"file", "dir"} and "log_file_artifact" in self._own:
            try:
                for name, path in files_for_call(self._run_dir, said):
                    self._call("log_file_artifact", state, level, name, path, overwrite=overwrite)
            except (OSError, ValueError) as error:
                self._failed(error, f"log_file_artifact was not called: {safe_repr(error)}")

    def _event(self, event: Event, said: Mapping[str, Any], record: int, when: int) -> None:
        state = self._progress.take(event, said, record, when)
        self._hand(event.value, self._target.run_event, event, self._state(state), self._logger)

    def _at(self, record: int) -> State:
        return self._state(self._progress.at(record))

    def _state(self, state: State) -> State:
        self._logger.state = state
        return state

    def _call(self, name: str, *args: Any, **more: Any) -> None:
        method = self._own.get(name)
        if method is not None:
            self._hand(name, method, *args, **more)

    def _hand(self, name: str, method: Callable[..., Any], *args: Any, **more: Any) -> bool:
        try:
            method(*args, **more)
        except BaseException as error:
            self._failed(error, f"{name} raised {safe_repr(error)}{_place(error)}")
            return False
        return True


def _overridden(target: Any, name: str) -> Callable[..., Any] | None:
    method = getattr(target, name, None)
    if not callable(method) or getattr(method, "__func__", None) is getattr(LoggerDestination, name):
        return None
    return cast("Callable[..., Any]", method)


@dataclass(slots=True)
class _Data:
    """One record's call, or late values of one."""

    number: int
    level: LogLevel
    values: dict[str, Any]
    is_late: bool
    holes: set[str]
    """Keys of what a device still has."""
    until: float = 0.0
    """Monotonic seconds: when the call no longer waits for it."""


def _level(level: Any, default: LogLevel = LogLevel.BATCH) -> LogLevel:
    try:
        return default if level is None else LogLevel(level)
    except ValueError:
        return default


def _shown(value: Any, run_dir: Path) -> Any:
    if value.__class__ is Ref:
        return MediaValue(value.kind, value.meta, run_dir)
    if value.__class__ is list:
        return [_shown(item, run_dir) for item in value]
    if value.__class__ is dict:
        return {key: _shown(item, run_dir) for key, item in value.items()}
    return value


def _place(error: BaseException) -> str:
    """Where in the user's code it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[::-1]
    for frame in [*(frame for frame in frames if not frame.filename.startswith(_OURS)), *frames]:
        return f" at {frame.filename}:{frame.lineno}"
    return ""
