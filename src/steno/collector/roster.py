"""The run's journals as one collector has them: found, looked at, read in order, adopted, and removed when they end."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from steno import files, host
from steno.collector.journals import JournalReader
from steno.journal import life
from steno.ledger import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from steno.collector.elsewhere import Elsewhere
    from steno.collector.reading import Marker
    from steno.journal.decode import Slice
    from steno.ledger.incoming import StreamInfo
    from steno.ledger.post import Poster

POST_BYTES: Final = 4 << 20
_LEAST_BYTES: Final = 256 << 10
_SCAN_SECS: Final = 0.1
_TICK_SECS: Final = 2.5
"""Two changes of a directory in so short a time may have one stamp: file systems count in ticks, or in seconds."""

Slices = list[tuple["StreamInfo", "Slice"]]


class Roster:
    """All journals that lie in the run's directory or are pointed to from there. For the posting thread.

    Args:
        run_dir: the run's directory.
        node: the number of this collector's node.
        poster: takes what they hold.
        marker: called with what is being decoded.
        elsewhere: watches those of other machines.
        say: tells a person, once per key.
        numbered: see `JournalReader`.
    """

    def __init__(
        self,
        run_dir: Path,
        node: int,
        poster: Poster,
        marker: Marker,
        elsewhere: Elsewhere,
        say: Callable[[str, str], None],
        numbered: Callable[[int], int] = int,
    ) -> None:
        self._numbered = numbered
        self.journals: dict[str, JournalReader] = {}
        self.more = False
        """The last `read` has left something that is there already."""
        self.elsewhere = elsewhere
        self._run_dir = run_dir
        self._node = node
        self._poster = poster
        self._marker = marker
        self._say = say
        self._place = run_dir / ".steno" / "journal"
        self._stamp = self._changed = -1
        self._changed_at = 0.0
        self._gone: set[str] = set()
        """Streams that have ended, and whose journals are removed."""
        self._next_scan = 0.0

    def scan(self, now: float) -> bool:
        """Find journals that are new; whether it was looked. The caller says when it has done its part: `scanned`."""
        if now < self._next_scan:
            return False
        try:
            stamp = os.stat(self._place).st_mtime_ns
        except OSError:
            stamp = self._stamp
        if stamp != self._changed:
            self._changed, self._changed_at = stamp, now
        if stamp == self._stamp:
            self._next_scan = now + _SCAN_SECS
            if now - self._changed_at >= _TICK_SECS or not self.has_new():
                return False
        for found in streams.find(self._run_dir):
            if found.stream in self.journals:
                continue
            if found.pointer is not None and not found.dir.is_dir():
                if found.host == host.name():
                    self._lost(found)
                continue
            self.journals[found.stream] = JournalReader(
                found, self._poster, self._marker, say=self._say, poison=self._run_dir / ".steno" / "poison",
                node=self._node, numbered=self._numbered,
            )  # fmt: skip
        self._seen = stamp
        return True

    def has_new(self) -> bool:
        """Whether a journal is there that nobody has looked at, whatever the directory's stamp says."""
        known = {*self.journals, *self._gone}
        return any(
            found.stream not in known and (found.pointer is None or found.dir.is_dir())
            for found in streams.find(self._run_dir)
        )

    def scanned(self) -> None:
        """Do not look again before something has changed."""
        self._stamp = self._seen

    def is_whole(self) -> bool:
        """Whether all journals that are there are known; else the next scan takes them up."""
        if self.has_new():
            self._stamp, self._next_scan = -1, 0.0
            return False
        return True

    def _lost(self, found: streams.FoundJournal) -> None:
        """The directory is gone, as after a reboot when it lay in memory: what was not posted is lost."""
        assert found.pointer is not None
        if self._poster.lose_stream(found.stream):
            self._poster.note(lost_journal=found.stream, path=str(found.dir), reason="its directory is gone")
            self._say(f"lost {found.stream}", f"the journal {found.dir} is gone; what was not posted of it is lost")
        with contextlib.suppress(OSError):
            files.unlink(found.pointer)

    def hurry(self) -> None:
        """Look at all anew: somebody waits, or has just started or ended."""
        self._next_scan = 0.0
        for journal in self.journals.values():
            journal.hurry()

    def look(self, now: float) -> None:
        """Refresh what directories and locks say, and adopt what is due. Raises sqlite3.Error."""
        for journal in self.journals.values():
            journal.look(now)
        self.elsewhere.look(self.journals, now)

    def read(self, cut: int) -> Iterator[Slices]:
        """What is new, a posting at a time, to be posted before the next one is read; `more` says if there is more.

        First that of this node's own journals, if it is empty too, then one of each that was adopted.

        Args:
            cut: frames stamped from there on (monotonic ns) wait, so that the order across processes is kept.
        """
        mine = [journal for journal in self.journals.values() if not journal.is_adopted]
        # Those that lag behind come first, and hold the others back: an order across processes. One that was read to
        # its end does not lag, however old its last record is.
        active = sorted(mine, key=lambda journal: (not journal.lags, journal.last_mono))
        share = max(POST_BYTES // max(len(active), 1), _LEAST_BYTES)
        slices: Slices = []
        self.more = False
        for journal in [journal for journal in active if journal.is_left_over] or active:
            size = self._read(journal, share, cut, slices)
            journal.lags = size >= share
            if journal.lags:
                cut, self.more = min(cut, journal.last_mono + 1), True
        yield slices
        for journal in list(self.journals.values()):
            if journal.is_adopted:
                # Its stamps are of another clock, and its automatic steps have counters of their own.
                slices = []
                self.more = self._read(journal, POST_BYTES, cut, slices) >= POST_BYTES or self.more
                if slices:
                    yield slices

    @staticmethod
    def _read(journal: JournalReader, limit_bytes: int, cut: int, into: Slices) -> int:
        size = 0
        for info, piece in journal.read(limit_bytes, cut):
            into.append((info, piece))
            size += piece.end - piece.start
        return size

    @property
    def has_left_over(self) -> bool:
        """Whether something is left of a writer of another boot, which is posted before all others."""
        return any(journal.is_left_over for journal in self.journals.values())

    def rewind(self) -> None:
        """Nothing of what was read is posted."""
        for journal in self.journals.values():
            journal.rewind()

    def posted(self, names: Collection[str], record: int) -> None:
        """What was read of these is posted, up to the record of that number."""
        for name, journal in self.journals.items():
            if name in names or not journal.unposted:
                journal.posted(record)

    def fence(self, names: Collection[str]) -> None:
        """Other nodes have adopted these."""
        for name in names:
            if name in self.journals:
                self.journals[name].fence()

    def end(self, synced: int) -> None:
        """Judge those that are drained, and remove what a synced posting has taken."""
        for name, journal in list(self.journals.items()):
            if journal.foreign:
                continue
            if journal.drained and not journal.ended and not journal.unposted:
                self._poster.end_stream(name)
                journal.ended = True
            elif journal.is_adopted and journal.idle and not journal.judged and not journal.unposted:
                self._poster.end_stream(name, for_good=False)
                journal.judged = True
            journal.free(synced)
            if (journal.ended or journal.is_adopted) and journal.remove(self._place):
                del self.journals[name]
                self._gone.add(name)

    def mine(self) -> list[JournalReader]:
        """Those that this node posts."""
        return [journal for journal in self.journals.values() if not journal.foreign]

    def is_writing(self, *, once: bool) -> bool:
        """Whether something is to be waited for; `once`: what is there, not what living writers may add."""
        return any(
            not (journal.idle and not journal.unposted)
            if journal.is_adopted
            else not journal.ended and not (once and journal.alive)
            for journal in self.mine()
        ) or self.elsewhere.undecided(self.journals)

    def close(self) -> None:
        """Unmap all."""
        for journal in self.journals.values():
            journal.close()


def has_writers(run_dir: Path, known: dict[str, JournalReader]) -> bool:
    """Whether a process of this machine records; what another one does is for its own collector."""
    others = {
        name for name, journal in known.items() if journal.standing == JournalReader.ELSEWHERE or journal.is_adopted
    }
    return any(
        found.host in {"", host.name()} and found.stream not in others and _asks(found) and life.is_alive(found.dir)
        for found in streams.find(run_dir)
    )


def _asks(found: streams.FoundJournal) -> bool:
    writer = life.writer(found.dir)
    return writer is None or writer.is_asked_here
