"""Keeps the files of a process that records where they are: touched, and made again when somebody removes them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from steno import files, runfile, statusfile
from steno.capture.start.collector_process import node_dirs
from steno.journal import life, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from steno.capture.retired import Retired
    from steno.capture.stream import SegmentMaker
    from steno.journal.appender import Appender

_KEPT_SECS: Final = 10.0
"""Between two looks at the small files of the run."""
_YOUNG_SECS: Final = 3600.0
"""Cleaners remove what is a day old, as a rule ten: all is touched once in an hour."""
_SMALL_BYTES: Final = 1 << 20


class JournalUpkeep:
    """For one stream of a recorder. `look` is for the keeper thread alone, once a second.

    The directory may be cleaned, as those of temporary files and of scratch disks are, or removed whole: what this
    process holds, in its maps and in its memory, is written there again.

    Args:
        run_dir: the run's directory.
        stream: the journal.
        appender: writes it.
        retired: its segments that were left and are not known to be posted.
        say: called with (key, message).
    """

    def __init__(
        self,
        run_dir: Path,
        stream: SegmentMaker,
        appender: Appender,
        retired: Callable[[], Sequence[Retired]],
        say: Callable[[str, str], None],
    ) -> None:
        self.lost = False
        """As `has_lost`, as far as it was looked."""
        self._run_dir = run_dir
        self._stream = stream
        self._appender = appender
        self._retired = retired
        self._say = say
        self._run_inode = files.inode(run_dir)
        self._ledger: Path | None = None
        self._ledger_inode: tuple[int, int] | None = None
        self._kept: dict[Path, tuple[int, bytes]] = {}
        """The small files of the run: time of modification and content."""
        self._next_stamp = self._next_kept = 0.0
        self._next_touch = 0.0

    def look(self, now: float) -> None:
        """Touch, and make again, what is due at this monotonic second. Raises OSError."""
        if files.inode(self._run_dir) != self._run_inode:
            self._begin_run_again()
        elif now >= self._next_kept:
            self._next_kept = now + _KEPT_SECS
            self._keep()
        if not self._stream.directory.exists():
            self._begin_again()
        self._mend()
        self._look_at_ledger()
        if now >= self._next_stamp:
            self._next_stamp = now + self._stream.stamp_secs
            self._stream.stamp()
        if now >= self._next_touch:
            self._next_touch = now + _YOUNG_SECS
            self._touch()

    def has_lost(self) -> bool:
        """Whether something is gone that was posted, or that nobody can write again, as of now."""
        if not self.lost:
            self._look_at_ledger()
        return self.lost or files.inode(self._run_dir) != self._run_inode

    # -- the run ----------------------------------------------------------------------------------------

    def _begin_run_again(self) -> None:
        self.lost = True
        for part in ("journal", "nodes"):
            (self._run_dir / ".steno" / part).mkdir(parents=True, exist_ok=True)
        self._run_inode, self._ledger = files.inode(self._run_dir), None
        self._keep()
        self._say(
            "run removed",
            f"the run's directory {self._run_dir} was removed while this process records: recording goes on in a new "
            "one with what is still held; what had been stored is lost as far as its collector does not hold it",
        )

    def _keep(self) -> None:
        """Remember the small files of the run, and write those again that are gone."""
        machinery = self._run_dir / ".steno"
        found: set[Path] = set()
        for path in (
            self._run_dir / runfile.FILE,
            machinery / "system.json",
            *(one for part in ("attempts", "destinations", "jobs", "stores") for one in _in(machinery / part)),
        ):
            with contextlib.suppress(OSError):
                there = os.stat(path)
                found.add(path)
                known = self._kept.get(path)
                if there.st_size <= _SMALL_BYTES and (known is None or known[0] != there.st_mtime_ns):
                    self._kept[path] = (there.st_mtime_ns, path.read_bytes())
        for path in [path for path in self._kept if path not in found]:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                files.write_new(path, self._kept[path][1])
            self._kept[path] = (os.stat(path).st_mtime_ns, self._kept[path][1])
            self._removed(path)

    def _look_at_ledger(self) -> None:
        """Notice that the ledger which was there is there no more, or another one."""
        mine = node_dirs(self._run_dir)
        if self._ledger is None or self._ledger_inode is None:
            self._ledger = next((path for one in mine if (path := place.ledger(one))), None)
            self._ledger_inode = None if self._ledger is None else files.inode(self._ledger)
        now = None if self._ledger is None else files.inode(self._ledger)
        # Before we looked first, the collector may have met it.
        if now == self._ledger_inode and not any(statusfile.read(one).get("removed") for one in mine):
            return
        self.lost = True
        self._say(
            "ledger removed",
            f"the ledger {self._ledger} was removed or replaced while this process records: what was posted and is in "
            "no part is lost as far as its collector does not hold it; steno doctor says what is",
        )
        self._ledger_inode = now

    # -- the journal ------------------------------------------------------------------------------------

    def _begin_again(self) -> None:
        """The journal's directory is gone: make it anew, with all that is mapped."""
        self._stream.begin_again()
        self._keep()  # whoever removed it may have removed more
        self._appender.roll()
        count = sum(self._restored())
        self._say(
            "journal removed",
            f"the journal {self._stream.directory} was removed while this process records: it is there again, with "
            f"{count} segments that were not posted; values in files of their own are lost",
        )

    def _mend(self) -> None:
        stream = self._stream
        for path in stream.mend():
            self._removed(path)
        current = self._appender.current
        if current is not None and files.inode(current.path) != current.inode:
            self._appender.roll()
        if sum(self._restored()):
            self._removed(stream.directory / "000000.seg")

    def _restored(self) -> Iterator[bool]:
        return (one.restore() for one in self._retired())

    def _touch(self) -> None:
        stream = self._stream
        files.touch_again(stream.directory)
        for entry in files.scan(stream.directory):
            if entry.name not in {life.WRITER, life.ALIVE}:
                files.touch_again(entry.path)
        if stream.pointer is not None:
            files.touch_again(stream.pointer)

    def _removed(self, path: Path) -> None:
        what = "segments" if path.suffix == ".seg" else path.name
        self._say(
            f"removed {what}",
            f"{what} of {path.parent} was removed while this process records, as cleaners of temporary directories "
            "do; it is there again and nothing is lost",
        )


def adopted(journal: Path) -> str:
    """What a process is told whose journal is another machine's now."""
    return (
        f"another machine has taken over the journal {journal}, since this process gave no sign of life for too long: "
        "recording goes on in a new one, and nothing is lost"
    )


def _in(folder: Path) -> list[Path]:
    return [
        folder / entry.name for entry in files.scan(folder) if entry.name.endswith(".json") and entry.name[0] != "."
    ]
