"""What of a run's journals nobody has posted: on which host, how much, how old."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from steno import inside
from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal import life, pointers, remaining
from steno.ledger import streams
from steno.record import Unposted

if TYPE_CHECKING:
    from pathlib import Path

    from steno.ledger.streams import FoundJournal


def unposted(run_dir: Path) -> list[Unposted]:
    """All that there is now; of a run that goes on, what was logged this moment is among it."""
    found = [_of(one) for one in streams.find(run_dir)]
    refused = [
        Unposted(one.stream, one.host, 0, 0, None, is_reachable=False, problem=one.problem)
        for one in pointers.refused(run_dir)
    ]
    return [*(one for one in found if one is not None), *refused]


def _of(found: FoundJournal) -> Unposted | None:
    if not found.dir.is_dir():
        return Unposted(found.stream, found.host, 0, 0, None, is_reachable=False) if found.pointer else None
    if not remaining.has_unposted(found.dir):
        return None
    from steno.journal.tailer import Tailer  # and with it numpy, which a list of runs does not need

    records = size = 0
    newest: int | None = None
    host = found.host
    for path in remaining.segments(found.dir):
        with contextlib.suppress(OSError, CorruptError, ValueError):
            with open(inside.opened(path), "rb") as file:
                file.seek(fmt.POSTED_AT)
                posted = max(fmt.U64.unpack(file.read(8))[0], fmt.HEADER_BYTES)
            tailer = Tailer(path, posted, writable=False)
            try:
                host = host or tailer.identity.host
                while (piece := tailer.read()) is not None:
                    records += len(piece.seq) + len(piece.entries)
                    times = [int(piece.wall.max())] if len(piece.wall) else []
                    newest = max([*times, *(entry.wall for entry in piece.entries), newest or 0])
                size += tailer.offset - posted
            finally:
                tailer.close()
    writer = life.writer(found.dir)
    return Unposted(found.stream, host or (writer.host if writer else ""), records, size, newest) if size else None
