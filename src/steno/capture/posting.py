"""How much of a process's journal is in the ledger: its full segments, until the collector has posted them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from steno import files
from steno.capture.retired import Retired

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steno.journal.appender import Appender
    from steno.journal.segment import Segment

_POLL_SECS: Final = 0.002
_MAPPED: Final = 16
"""So many of the newest full segments are mapped with their pages; older ones are held without."""
_HELD: Final = 16_384
"""More are looked up on disk: the kernel gives a process some 65,000 maps."""


class Posting:
    """Follows the posting of one process's journal. Thread-safe but for `reap`, which the keeper thread alone calls."""

    def __init__(self) -> None:
        self.retired: list[Retired] = []
        """Full segments that are not known to be posted, in order."""
        self.last_record = 0
        """Number of the last record of this process known to be in the ledger."""
        self._bare: tuple[Segment, int] | None = None
        """The segment and the position in it at which the process had only said that it is there."""

    def retire(self, segment: Segment) -> None:
        """A segment is full."""
        self.retired.append(Retired(segment))

    def reap(self) -> None:
        """Unmap full segments that are posted, and hold the others so that they take no memory when there are many."""
        done = 0
        for retired in list(self.retired):
            posted = retired.look()
            self.last_record = max(self.last_record, retired.record)
            if posted:
                retired.close()
                done += 1
            else:
                break
        del self.retired[:done]
        for number, retired in enumerate(self.retired[:-_MAPPED]):
            if number < _HELD:
                retired.hold()
            else:
                retired.close()

    def wait(self, written: Sequence[Segment], deadline: float | None, *, inherited: bool) -> bool:
        """Wait until all journalled by now is posted; False at the deadline (monotonic secs).

        Args:
            written: segments that are not full yet, or just being left.
            deadline: None: as long as it takes.
            inherited: this is a forked child that has not made a stream of its own yet: full segments are the parent's.
        """
        for goal in self._goals(written, inherited=inherited):
            while not goal.look():
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_SECS)
            self.last_record = max(self.last_record, goal.record)
        return True

    def unposted(self, written: Sequence[Segment], *, inherited: bool) -> int:
        """How many bytes are not in the ledger yet."""
        return sum(one.left() for one in self._goals(written, inherited=inherited))

    def _goals(self, written: Sequence[Segment], *, inherited: bool) -> list[Retired]:
        full = [] if inherited else [*self.retired]
        known = {one.path for one in full}
        return [*full, *(Retired(one, end=one.tell()) for one in written if one.path not in known)]

    def mark_beginning(self, current: Segment | None) -> None:
        """What was journalled by now only says that the process is there."""
        self._bare = None if current is None else (current, current.tell())

    def forget_beginning(self) -> bool:
        """Take the process for one that has journalled more; whether it was not taken for one before."""
        had, self._bare = self._bare is not None, None
        return had

    def is_bare(self, appender: Appender, directory: Path | None) -> bool:
        """Whether nothing was journalled since `mark_beginning`, by this process or another one of the run here."""
        bare, current = self._bare, appender.current
        if bare is None or appender.backlog or directory is None:
            return False
        if current is not bare[0] and not (appender.sealed and current is None and not self.retired[1:]):
            return False
        end = bare[0].end if current is None else bare[0].tell()
        return end == bare[1] and len(files.scan(directory.parent)) <= 1

    def close(self) -> None:
        """Unmap all."""
        for retired in self.retired:
            retired.close()

    def after_fork(self) -> None:
        """In the child: the full segments are its parent's."""
        self.close()
        self.retired = []
