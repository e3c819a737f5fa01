"""DuckDB over the parts of runs."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from steno.errors import CorruptError
from steno.store.intact import WILD, IntactParts
from steno.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from steno.ledger.snapshot import Loss, Part
    from steno.store.binfiles import BinFiles
    from steno.store.chunkbins import ChunkBins
    from steno.store.image import Bytes, PartImage

_TRIES = 50
_inherited: list[object] = []
"""Databases of a parent process: closing one in the child would wait for threads that are not there."""

T = TypeVar("T")


class PartGone(Exception):  # noqa: N818 - not an error: read again from a new snapshot
    """A part of the snapshot was merged into another one meanwhile."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Parts that one file of bins is over."""

    whole: Part
    """What stands for them; the part itself, where it is one."""
    parts: Sequence[Part]
    source: Bytes | None
    """Where the file's bytes are; None: next to the part."""
    is_over_ranks: bool = False
    """Whether its bins are of all ranks together, see `overview.packed`."""


class Origin(Protocol):
    """Where the files of a run come from that is in an object store. Each method may raise PartGone."""

    def parts(self, wanted: Iterable[Part]) -> None:
        """Have these parts here, whole."""

    def near(
        self, wanted: Iterable[Part], keys: Sequence[str], steps: tuple[int | None, int | None] = (None, None)
    ) -> None:
        """Have here what a reader of these keys, from the first to the last step, needs of the parts."""

    def source(self, part: Part) -> Bytes | None:
        """Where the bytes of a part are; None: in its file, which is here."""

    def overviews(self, wanted: Sequence[Part], *, over_ranks: bool) -> list[Covered]:
        """The files of bins over many of these parts, those over ranks where they may be and are there."""

    def bins(self, wanted: Iterable[Part]) -> None:
        """Have the files of bins next to these parts here, if there are some."""


class Engine:
    """One in-memory DuckDB, made at the first query. Thread-safe: each query has a cursor of its own.

    Not for use after a fork: the child makes its own database.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.database: duckdb.DuckDBPyConnection | None = None
        self._pid = 0
        self._intact = IntactParts()
        self.damaged: dict[str, str] = {}
        """Path → reason, for parts that could not be read and are left out."""
        self._binfiles: BinFiles | None = None
        self._chunkbins: ChunkBins | None = None
        self.origins: dict[Path, Origin] = {}
        """By run directory, where the files of a run in an object store come from."""

    @property
    def losses(self) -> dict[str, Loss]:
        """By path, what the parts that fail their checksum have lost, of those read so far."""
        return self._intact.losses

    def files(self, run_dir: Path, parts: Iterable[Part], keys: Collection[str] | None = None) -> list[Path]:
        """The files to read for these parts: each is compared with its checksums once, see `IntactParts`.

        Args:
            run_dir: the run's directory.
            parts: the parts.
            keys: nothing is read but points of these keys; None: anything.

        Raises:
            PartGone: a part is no longer there.
        """
        found = []
        for part in self.here(run_dir, parts):
            try:
                path = self._intact.path(run_dir, part, keys)
            except FileNotFoundError as error:
                raise PartGone(str(run_dir / part.name)) from error
            if path is not None:
                found.append(path)
        return found

    def here(self, run_dir: Path, parts: Iterable[Part]) -> list[Part]:
        """The parts, which are on this machine then. Raises PartGone."""
        parts = list(parts)
        if run_dir in self.origins:
            self.origins[run_dir].parts(parts)
        return parts

    def near(
        self,
        run_dir: Path,
        parts: Iterable[Part],
        keys: Sequence[str],
        steps: tuple[int | None, int | None] = (None, None),
    ) -> list[Part]:
        """The parts, of which what a reader of these keys and steps needs is on this machine then. Raises PartGone."""
        parts = list(parts)
        if run_dir in self.origins:
            self.origins[run_dir].near(parts, keys, steps)
        return parts

    def image(self, run_dir: Path, part: Part) -> PartImage | None:
        """What reads a few row groups of a part; None: it is to be read by its `files`. Raises PartGone."""
        if str(run_dir / part.name) in self.damaged:
            return None
        origin = self.origins.get(run_dir)
        try:
            return self._intact.image(run_dir, part, None if origin is None else origin.source(part))
        except FileNotFoundError as error:
            raise PartGone(str(run_dir / part.name)) from error

    def covered(self, run_dir: Path, parts: Sequence[Part], *, over_ranks: bool = False) -> list[Covered]:
        """The parts as their bins are read: of a run in a store many in parallel."""
        origin = self.origins.get(run_dir)
        many = [] if origin is None else origin.overviews(parts, over_ranks=over_ranks)
        there = {part.name for one in many for part in one.parts}
        return [*many, *(Covered(part, (part,), None) for part in parts if part.name not in there)]

    def binfiles(self, run_dir: Path, parts: Iterable[Part]) -> BinFiles:
        """What reads the bins next to these parts; those of a run in an object store are here then, if it has some."""
        if run_dir in self.origins:
            self.origins[run_dir].bins(list(parts))
        if self._binfiles is None:
            from steno.store.binfiles import BinFiles

            self._binfiles = BinFiles()
        return self._binfiles

    def chunkbins(self) -> ChunkBins:
        """What keeps the bins of points that no part has."""
        if self._chunkbins is None:
            from steno.store.chunkbins import ChunkBins

            self._chunkbins = ChunkBins()
        return self._chunkbins

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the one database; the caller closes it."""
        with self._lock:
            if self.database is not None and self._pid != os.getpid():
                _inherited.append(self.database)
                self.database = None
            if self.database is None:
                import duckdb

                self.database = duckdb.connect(
                    config={
                        # Spilled data must not land in the working directory, which may be a run.
                        "temp_directory": os.path.join(tempfile.gettempdir(), f"steno-duckdb-{os.getpid()}"),
                        "autoinstall_known_extensions": False,
                    }
                )
                # By its time and size: a footer of a hundred keys takes as long to read as one of their series.
                self.database.execute("set global parquet_metadata_cache=true")
                # A bar would go to the program's standard output. In a kernel without ipywidgets there is none, and
                # DuckDB refuses to have it turned off.
                with contextlib.suppress(duckdb.InvalidInputException):
                    self.database.execute("set enable_progress_bar=false")
                self._pid = os.getpid()
            return self.database.cursor()

    def close(self) -> None:
        """Free the database; a later query makes a new one."""
        with self._lock:
            if self.database is not None:
                if self._pid == os.getpid():
                    self.database.close()
                else:
                    _inherited.append(self.database)
            self.database = None

    def table(self, paths: Sequence[Path], query: str, values: Sequence[object] = ()) -> pa.Table | None:
        """The result of a query in which `{parts}` stands for the parts; None without parts.

        The query must be such that its results over single parts can be put one after the other: when a
        part turns out to be damaged, each is read alone, and what cannot be read is left out and said once.

        Raises:
            PartGone: a part is no longer there.
            MemoryError: the query needs more than there is.
            OSError: this process has no file handle left.
        """
        import duckdb
        import pyarrow as pa

        intact = [path for path in paths if str(path) not in self.damaged]
        if not intact:
            return None
        try:
            return self._table(intact, query, values)
        except duckdb.Error as error:
            _blame(error)
            require(intact)
        pieces: list[pa.Table] = []
        for path in intact:
            try:
                pieces.append(self._table([path], query, values))
            except duckdb.Error as error:
                _blame(error)
                require([path])
                self._note(path, error)
        return pa.concat_tables(pieces) if pieces else None

    def _table(self, paths: Iterable[Path], query: str, values: Sequence[object]) -> pa.Table:
        cursor = self.cursor()
        try:
            return cursor.sql(query.format(parts=scan(paths)), params=list(values)).to_arrow_table()
        finally:
            cursor.close()

    def intact(self, paths: Iterable[Path]) -> list[Path]:
        """The parts that can be read whole, each one read to its end; the others are noted.

        Raises:
            PartGone: a part is no longer there.
        """
        import duckdb

        found = []
        for path in paths:
            if str(path) in self.damaged:
                continue
            cursor = self.cursor()
            try:
                cursor.execute(f"select max(hash(columns(*))) from {scan([path])}").fetchall()
                found.append(path)
            except duckdb.Error as error:
                _blame(error)
                require([path])
                self._note(path, error)
            finally:
                cursor.close()
        return found

    def leave_out(self, path: Path, error: Exception) -> None:
        """Note that a part cannot be read: it is not looked at again.

        Raises:
            OSError: this process has no file handle left.
        """
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise error
        _blame(error)
        self._note(path, error)

    def _note(self, path: Path, error: Exception) -> None:
        reason = (str(error) or repr(error)).splitlines()[0]
        self.damaged[str(path)] = reason
        warnings.warn(visible(f"the part {path} is damaged and left out: {reason}"), RuntimeWarning, stacklevel=5)


def _blame(error: Exception) -> None:
    """Raise what is no part's fault: one that is intact must not be left out because memory or handles are short."""
    import duckdb

    if isinstance(error, duckdb.InterruptException):
        raise KeyboardInterrupt from error
    if isinstance(error, duckdb.OutOfMemoryException):
        msg = f"the query needs more memory than there is: ask for fewer keys or steps ({error})"
        raise MemoryError(msg) from error  # noqa: TRY004 - the isinstance tells errors apart, not types of arguments
    if isinstance(error, duckdb.IOException) and "Too many open files" in str(error):
        raise OSError(errno.EMFILE, "no file handle is left to read the run's parts with; see `ulimit -n`") from error


def inherit(engine: Engine) -> None:
    """Keep a parent's database in the child for good, taking no lock."""
    _inherited.append(engine.database)


def scan(paths: Iterable[Path | str], options: str = "") -> str:
    """SQL that reads these parts, whatever their directory is called: DuckDB takes a path for a pattern.

    It also takes directories such as `step=5` for columns that stand in place of the part's own, unless asked not to.
    """
    plain = ("".join(f"[{sign}]" if sign in WILD else sign for sign in str(path)) for path in paths)
    options = ", ".join(["hive_partitioning = false", *([options] if options else [])])
    return f"read_parquet([{', '.join(map(quoted, plain))}], {options})"


def quoted(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def require(paths: Iterable[Path]) -> None:
    """Raise PartGone if one of the parts is no longer there."""
    for path in paths:
        if not os.path.exists(path):
            raise PartGone(str(path))


def again(read: Callable[[], T]) -> T:
    """What `read` returns, called anew as long as parts go away under it.

    Raises:
        CorruptError: parts that the run's list names stay missing.
    """
    for _ in range(_TRIES):
        try:
            return read()
        except PartGone as gone:
            missing = str(gone)
    msg = f"the part {missing} is listed and not there: copy it next to the others, or remove it from the list"
    raise CorruptError(msg)
