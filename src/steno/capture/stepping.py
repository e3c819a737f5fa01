"""The next automatic step, as this process can tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.capture.collected import status
from steno.capture.nothing import Nothing
from steno.capture.start.attempt import attempts
from steno.errors import CorruptError
from steno.journal.format import HEADER_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from steno.capture.recorder import Recorder


def next_step(recorder: Recorder | Nothing, run_dir: Path) -> int:
    """What the collector counted when it last said so, moved on by our records behind that.

    Right where one process logs; elsewhere what others logged in the last second may be missing. Loads numpy
    and reads this process's current segment: milliseconds, not for every step.
    """
    said = status(run_dir)
    count = int((said.get("counters") or {}).get("run") or 0)
    for one in attempts(run_dir):
        if one.rewind is not None and one.number > int(said.get("attempt", one.number)):
            count = one.rewind  # what was said is from before the rewind
    if isinstance(recorder, Nothing):
        return count
    segment = recorder.appender.current
    if segment is None:
        return count
    try:
        offset, record = segment.posted()
        steps = _steps(segment.path, HEADER_BYTES)
        unposted = len(_steps(segment.path, max(offset, HEADER_BYTES)))
    except (OSError, ValueError, CorruptError):
        return count
    # Behind what the collector said last: what it has posted since, and what it has not posted.
    behind = max(record - int(said.get("record") or 0), 0) + unposted
    for step in steps[max(len(steps) - behind, 0) :]:
        # -1: an entry, which has a record number and moves no counter.
        count = count + 1 if step is None else max(count, step + 1)
    return count


def _steps(path: Path, offset: int) -> list[int | None]:
    """The steps of a segment's records behind the offset, in the order logged; None: automatic, -1: an entry."""
    from steno.journal.tailer import Tailer

    found: list[tuple[int, int | None]] = []
    tailer = Tailer(path, offset, writable=False)
    try:
        while (part := tailer.read()) is not None:
            rows = zip(part.seq.tolist(), part.step.tolist(), part.auto.tolist(), strict=True)
            found += [(seq, None if auto else step) for seq, step, auto in rows]
            found += [(entry.seq, -1) for entry in part.entries]
    finally:
        tailer.close()
    return [step for _, step in sorted(found, key=lambda item: item[0])]
