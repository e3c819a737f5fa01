"""What is still to be done for a run at its end, and who has to do it, in words."""

from __future__ import annotations

import os
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from steno.capture.collected import behind, encoding, status
from steno.capture.start.collector_process import is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from steno.capture.artifacts.recording import ArtifactLog
    from steno.capture.start.started import StartedRun


_TAIL_BYTES: Final = 4096
_LINE_CHARS: Final = 200


class Patience:
    """While a wait lasts: have something said once when it has lasted so long, unless it would end soon after.

    Args:
        secs: how long.
        deadline: when the wait ends, in monotonic seconds.
        notify: called on a thread of its own.
    """

    def __init__(self, secs: float, deadline: float, notify: Callable[[], None]) -> None:
        self._timer: threading.Timer | None = None
        if time.monotonic() + secs < deadline:
            self._timer = threading.Timer(secs, notify)
            self._timer.name = "steno-patience"
            self._timer.daemon = True

    def __enter__(self) -> None:
        if self._timer is not None:
            try:
                self._timer.start()
            except RuntimeError:  # no more threads: nothing is said
                self._timer = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()


def now(started: StartedRun, feeds: Sequence[str], artifacts: ArtifactLog | None, *, whole: bool) -> list[str]:
    """What is outstanding, one item for each that has something to do; empty when nothing is.

    Args:
        started: the run.
        feeds: names of the destination objects that have not taken all.
        artifacts: of this process.
        whole: the destinations' part too, not only what this process has logged.
    """
    recorder = started.recorder
    health = recorder.health()
    found = lost(started, whole=whole)
    kept = health.get("kept_in_memory")
    if kept:
        found.append(f"{kept} records wait in memory for room in the journal")
    device = (health.get("device") or {}).get("waiting")
    if device:
        found.append(f"{device} values are on their way from a device")
    found += [f"the destination object {name!r} has not taken all" for name in feeds]
    size = recorder.unposted()
    if size:
        found.append(f"{_amount(size)} of this process's records are to be posted by {_collector(started)}")
    stored = 0 if artifacts is None else artifacts.health()["waiting"]
    if stored:
        found.append(f"{stored} artifacts are to be stored by {_collector(started)}")
    if not whole or size:
        return found
    for one in behind(started.dir, recorder.last_record):
        lag = f"lacks {one.lag} records" if one.lag else "has not confirmed that it has all records"
        how = ", and has stopped" if one.stopped else ""
        found.append(f"the destination {one.name!r} {lag}{how}{f' ({one.error})' if one.error else ''}")
    if recorder.has_media:
        media = encoding(started.dir, recorder.last_record)
        if media is None or media.waiting:
            count = "media values" if media is None else f"{media.waiting} media values"
            found.append(f"{count} are to be encoded by {_collector(started)}")
        elif media.kept_raw:
            found.append(f"{media.kept_raw} media values could not be encoded and are kept as they were captured")
    return found


def lost(started: StartedRun, *, whole: bool) -> list[str]:
    """What nobody can bring any more, one item for each cause; `whole`: also of what others have recorded."""
    found = []
    if whole and started.recorder.lost:
        found.append("what was stored has been removed by somebody while the run went on")
    dropped = started.recorder.health().get("dropped")
    if dropped:
        found.append(f"{dropped} records are lost, since there was no room for them")
    return found


def waiting(started: StartedRun, parts: Sequence[str], left_secs: float) -> str:
    """The line while somebody waits."""
    secs = f"{left_secs:.0f} s"
    return f"the run {started.name!r} waits up to {secs} more for its end: {'; '.join(parts)}. Ctrl-C ends the wait"


def left(started: StartedRun, parts: Sequence[str], feeds: Sequence[str]) -> str:
    """The line when nobody waits any more; `parts` and `feeds` as `now` has them."""
    rest = []
    if feeds:
        rest.append(
            "A destination object gets the rest while this process lives, and no longer: the run has all records"
        )
    quoted = shlex.quote(str(started.dir))
    others = len(parts) - len(feeds) - len(lost(started, whole=True))
    if others > 0 and is_running(started.dir):
        what = "the others" if feeds else "it"
        rest.append(f"The collector goes on with {what}; `steno doctor {quoted}` shows how far it is")
    elif others > 0:
        rest.append(f"`steno sync {quoted}` does what is left")
    what = "; ".join(parts)
    return ". ".join([f"the run {started.name!r} has ended and not all is done: {what}", *rest])


def refused(started: StartedRun) -> str:
    """The line of the values that this attempt logged and no column can hold; empty when there are none."""
    found = status(started.dir).get("refused") or {}
    # In a run that hosts share the attempt may have a higher number than this process knows.
    if not found.get("values") or int(found.get("attempt") or 0) < started.attempt:
        return ""
    parts = [f"{key!r} {'once' if times == 1 else f'{times} times'} ({reason})" for key, times, reason in found["most"]]
    more = f", and of {found['keys'] - len(parts)} more keys" if found["keys"] > len(parts) else ""
    values = "1 value" if found["values"] == 1 else f"{found['values']} values"
    return (
        f"{values} that the run {started.name!r} logged could not be recorded: {', '.join(parts)}{more}. "
        f"steno.open({str(started.dir)!r}).info.losses counts them all"
    )


def _collector(started: StartedRun) -> str:
    if not is_running(started.dir):
        if not started.watchdog.enabled or started.watchdog.given_up:
            return "a collector, and none is at work"
        pid = started.watchdog.pid
        said = _last_line(started.dir / ".steno" / "collector.log")
        why = f" and whose log ends with {said!r}" if said else ""
        return f"the collector{f' (process {pid})' if pid else ''}, which has not started{why}"
    current: dict[str, Any] = status(started.dir)
    process = f" (process {current['pid']})" if current.get("pid") else ""
    error = f", which says: {current['error']}" if current.get("error") else ""
    return f"the collector{process}{error}"


def _last_line(log: Path) -> str:
    """What a collector said last before it gave up; empty where there is nothing."""
    try:
        with open(log, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:_LINE_CHARS] for line in reversed(lines) if line.strip()), "")


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
