"""The next automatic step, as this process can tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.capture.delivery import status
from steno.capture.nothing import Nothing
from steno.errors import CorruptError
from steno.journal.format import HEADER_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from steno.capture.recorder import Recorder


def next_step(recorder: Recorder | Nothing, run_dir: Path) -> int:
    """What the collector counted when it last said so, moved on by what it has not posted of our segment.

    Loads numpy and reads up to a segment's worth of this process's journal: not for every step.
    """
    counters = status(run_dir).get("counters") or {}
    count = int(counters.get("run") or 0)
    if isinstance(recorder, Nothing):
        return count
    segment = recorder._appender.current
    if segment is None:
        return count
    from steno.journal.tailer import Tailer

    try:
        posted, _ = segment.posted()
        tailer = Tailer(segment.path, max(posted, HEADER_BYTES), writable=False)
    except (OSError, ValueError, CorruptError):
        return count
    try:
        while (part := tailer.read(live=True)) is not None:
            for step, auto in zip(part.step.tolist(), part.auto.tolist(), strict=True):
                count = count + 1 if auto else max(count, step + 1)
    finally:
        tailer.close()
    return count
