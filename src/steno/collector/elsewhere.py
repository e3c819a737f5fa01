"""Journals of writers that this machine cannot ask: watched by their stamps, and adopted when these stand still."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from steno import files, host, inside
from steno.journal import adoption, life, place, remaining
from steno.journal import format as fmt
from steno.ledger import handover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from steno.collector.catalogue import Node
    from steno.collector.journals import JournalReader
    from steno.journal.adoption import AdoptionMark
    from steno.ledger.post import Poster

ADOPT: Final = "adopt"
"""In the node's directory: somebody asks for the journals of other machines to be adopted at once."""
_PATIENCE: Final = 2.5
"""Stamps that a living writer may miss: its machine is busy, or a file system tells late."""
_LOOKS: Final = 6
"""How often a stamp is looked at while it is waited for."""
_LEAST_SECS, _MOST_SECS = 0.1, 20.0
_BUSY_SECS: Final = 30.0
_ONCE_SECS: Final = 1.0
"""Between two looks while somebody waits for the answer."""


class StampWatch:
    """Whether the stamp of one journal stands still, by this process's own clock."""

    def __init__(self, every_secs: float, lease_secs: float) -> None:
        self.lease_secs = max(lease_secs, _PATIENCE * every_secs) if lease_secs else 0.0
        """So long a stamp stands still before the journal is adopted; 0: for ever."""
        self._every_secs = every_secs
        self._stamp: int | None = None
        self._looked_at: float | None = None
        self._quiet_secs = 0.0
        self.has_stirred = False
        """It was seen to move."""

    def look(self, stamp: int | None, now: float, most_secs: float) -> None:
        """Take a look at this monotonic second; the last one was about `most_secs` ago, unless we were stopped."""
        if self._looked_at is None or stamp != self._stamp:
            self.has_stirred = self._looked_at is not None
            self._quiet_secs = 0.0
        else:
            # Time in which we were stopped ourselves says nothing: so may the writer have been.
            self._quiet_secs += min(now - self._looked_at, 2 * most_secs)
        self._stamp, self._looked_at = stamp, now

    @property
    def is_still(self) -> bool:
        """Whether it has stood still for the whole lease."""
        return 0 < self.lease_secs <= self._quiet_secs

    def seems_alive(self, now: float) -> bool:
        """Whether it has moved lately; of one that was not watched for long, its age by the clocks must tell."""
        if self._quiet_secs > _PATIENCE * self._every_secs:
            return False
        return self.has_stirred or (
            self._stamp is not None and abs(now - self._stamp / 1e9) < _PATIENCE * self._every_secs
        )


class Elsewhere:
    """All such journals of one run, for one collector; from the posting thread.

    Args:
        run_dir: the run's directory.
        node: this collector's node.
        poster: of its ledger.
        lease_secs: see `StampWatch`.
        at_once: adopt without waiting.
        once: somebody waits for the answer.
        say: tells a person, once per key.
    """

    def __init__(
        self,
        run_dir: Path,
        node: Node,
        poster: Poster,
        *,
        lease_secs: float,
        at_once: bool,
        once: bool,
        say: Callable[[str, str], None],
    ) -> None:
        self._run_dir = run_dir
        self._node = node
        self._poster = poster
        self._lease_secs = lease_secs
        self._at_once = at_once
        self._once = once
        self._say = say
        self._watches: dict[str, tuple[int, StampWatch]] = {}
        """By journal: the number of the mark whose stamp is watched, 0 for the writer's own."""
        self._busy_since: dict[str, float] = {}
        """By journal that is marked by us and not taken over: the ledger of the one who posted it is busy."""
        self._marks: dict[str, AdoptionMark] = {}
        self._now = at_once
        self._next_look = 0.0
        self._next_stamp = 0.0

    @property
    def _look_secs(self) -> float:
        if self._at_once:
            return _LEAST_SECS
        secs = self._lease_secs / _LOOKS if self._lease_secs else _MOST_SECS
        return min(max(secs, _LEAST_SECS), _ONCE_SECS if self._once else _MOST_SECS)

    def look(self, journals: dict[str, JournalReader], now: float) -> None:
        """Watch, adopt what is due, and renew the stamps of what was adopted. Raises sqlite3.Error of this ledger."""
        if now >= self._next_stamp:
            self._next_stamp = now + min(life.STAMP_SECS, max(self._lease_secs, 1.0) / 4)
            for journal in journals.values():
                self._stamp(journal)
        if now < self._next_look:
            return
        self._next_look = now + self._look_secs
        asked = self._node.dir / ADOPT
        self._now = self._at_once or asked.exists()
        if asked.exists():
            files.unlink(asked, missing_ok=True)
        for name in list(self._watches):
            if name not in journals:
                del self._watches[name]
        for journal in journals.values():
            if journal.standing == journal.ELSEWHERE:
                with contextlib.suppress(OSError):
                    self._consider(journal, now)

    def _consider(self, journal: JournalReader, now: float) -> None:
        where = journal.found.dir
        mark = adoption.owner(where)
        if mark is not None and mark.node == self._node.number:
            self._take(journal, mark)  # once more, or an earlier collector of this node did not get to it
            return
        writer = life.writer(where) or life.JournalWriter()
        number, watch = self._watches.get(journal.name, (-1, None))
        if watch is None or number != (mark.number if mark else 0):
            every_secs = life.STAMP_SECS if mark else min(max(writer.every_secs, 0.0), life.STAMP_SECS)
            watch = StampWatch(every_secs, self._lease_secs)
            self._watches[journal.name] = (mark.number if mark else 0, watch)
        watch.look(mark.stamp if mark else life.stamp(where), now, self._look_secs)
        if mark is not None:
            # One that is at work is not to be hurried either.
            due = mark.has_left or watch.is_still or (self._now and not watch.seems_alive(time.time()))
        elif writer.is_of_this_machine:
            due = not life.is_alive(where)
        else:
            due = self._now or watch.is_still
        if due and remaining.has_unposted(where):
            made = adoption.adopt(where, self._node.number, host.name(), time.time())
            if made is not None:
                self._take(journal, made)

    def undecided(self, journals: dict[str, JournalReader]) -> bool:
        """Whether it is worth staying to see if a journal with records that nobody has posted is to be adopted."""
        return any(self._is_undecided(one) for one in journals.values() if one.standing == one.ELSEWHERE)

    def _is_undecided(self, journal: JournalReader) -> bool:
        if journal.name in self._busy_since:
            return time.monotonic() - self._busy_since[journal.name] < _BUSY_SECS
        if not (self._lease_secs or self._at_once) or not remaining.has_unposted(journal.found.dir):
            return False
        _, watch = self._watches.get(journal.name, (0, None))
        return watch is None or not (watch.has_stirred if self._once else watch.seems_alive(time.time()))

    # -- taking over ---------------------------------------------------------------------------------------

    def _take(self, journal: JournalReader, mark: AdoptionMark) -> None:
        """Have the others post it no more, and go on where they stand."""
        where, name = journal.found.dir, journal.name
        writer = life.writer(where) or life.JournalWriter()
        origin, standings = self._node.number, []
        for number, node_dir, is_home in self._posters(where, writer):
            origin = number if is_home else origin
            if number == self._node.number:
                continue
            ledger = place.ledger(node_dir)
            try:
                if ledger is None:
                    standings.append(handover.Standing(number, _by_headers(where)))
                else:
                    standings.append(handover.release(ledger, number, name, self._node.number, time.time_ns()))
            except sqlite3.Error as error:
                if "locked" in str(error):
                    # A collector that was stopped in the midst of a posting: whether that is made is not known yet.
                    self._busy_since.setdefault(name, time.monotonic())
                    self._say(f"busy {name}", f"the journal {name} waits to be adopted: {ledger} is busy ({error})")
                    return
                standings.append(handover.Standing(number, _by_headers(where)))
        self._poster.adopt(name, origin, standings)
        self._busy_since.pop(name, None)
        self._watches.pop(name, None)
        self._marks[name] = mark
        journal.adopt()
        self._say(
            f"adopted {name}",
            f"the journal {name} of host {writer.host or mark.host} is posted here from now on: its writer gives no "
            f"sign of life. Its segments stay for {adoption.KEPT_SECS // 86_400} days unless it closes them",
        )

    def _posters(self, where: Path, writer: life.JournalWriter) -> Iterator[tuple[int, Path, bool]]:
        """(number, directory, whether it is the writer's own) of the nodes that may have posted of a journal."""
        earlier = adoption.nodes(where)
        for entry in sorted(files.scan(self._run_dir / ".steno" / "nodes"), key=lambda one: one.name):
            number = inside.node(entry.name)
            if number is None:
                continue
            facts = files.read_json(self._run_dir / ".steno" / "nodes" / entry.name / "node.json")
            same = not writer.machine or facts.get("machine", "") in {"", writer.machine}
            is_home = same and facts.get("host") == writer.host
            if is_home or number in earlier:
                yield number, self._run_dir / ".steno" / "nodes" / entry.name, is_home

    def _stamp(self, journal: JournalReader) -> None:
        """Show that somebody posts it: a journal that was adopted, and one whose writer may be too busy to do so."""
        with contextlib.suppress(OSError):
            if journal.standing == journal.OURS and not journal.ended:
                os.utime(journal.found.dir / life.WRITER)
            elif journal.is_adopted:
                mark = self._marks.get(journal.name) or adoption.owner(journal.found.dir)
                if mark is not None:
                    self._marks[journal.name] = mark
                    adoption.stamp(journal.found.dir, mark)

    def leave(self, journals: dict[str, JournalReader]) -> None:
        """The collector leaves: whoever finds more in what it had adopted need not wait."""
        for name, mark in self._marks.items():
            with contextlib.suppress(OSError, KeyError):
                adoption.leave(journals[name].found.dir, mark)


def _by_headers(where: Path) -> dict[int, int]:
    """How far segments are posted by their own headers: the ledger that knows better is out of reach."""
    found = {}
    for path in remaining.segments(where):
        with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
            number = int(os.path.basename(path)[:-4])
            posted = fmt.U64.unpack(os.pread(file.fileno(), fmt.U64.size, fmt.POSTED_AT))[0]
            if posted > fmt.HEADER_BYTES:
                found[number] = posted
    return found
