"""A run as its reader sees it, live or ended."""

from __future__ import annotations

import difflib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from steno import paths
from steno.errors import UsageError
from steno.record import ARTIFACT
from steno.store import artifacts as artifacts_
from steno.store import attempts as attempts_
from steno.store import editing as editing_
from steno.store import engines
from steno.store import export as export_
from steno.store import frame as frame_
from steno.store import media as media_
from steno.store import ranks as ranks_
from steno.store import records as records_
from steno.store import runs as runs_
from steno.store import stream as stream_
from steno.store.downsample import check_points, downsample
from steno.store.engine import Engine, again
from steno.store.files_run import FilesRun
from steno.store.series import Series, series_of
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import duckdb

    from steno.ledger.snapshot import Loss
    from steno.record import Batch, Entry, Record
    from steno.store.artifacts import Artifact
    from steno.store.entrypages import EntryPage
    from steno.store.info import Info
    from steno.store.media import MediaItem
    from steno.store.ranks import Stragglers
    from steno.store.remote import Remote
    from steno.store.seam import EngineRun
    from steno.viewer.started import Viewer


def open_run(run: str | os.PathLike[str], *, dir: str | os.PathLike[str] | None = None) -> RunReader:
    """Open a run for reading, live or ended. Nothing is written in its directory.

    Args:
        run: the run's directory, its `project/name`, its name where only one run has it, or its URL in an
            object store, such as "s3://bucket/prefix/project/name".
        dir: where runs are kept, for names; None: STENO_DIR, else `runs`.

    Returns:
        The reader; it sees what was posted up to each of its calls.

    Raises:
        RunNotFoundError: there is no such run.
        UsageError: several runs have that name, or the store cannot be read.
        CorruptError: something in its machinery is a link, or no file.

    Thread-safe. A reader changes nothing of a run, except by `edit`.
    """
    if engines.is_of_one(run):
        engine, name = engines.parted(os.fspath(run))
        return RunReader(engine.run(name))
    if engines.is_of_one(dir):
        return RunReader(engines.parted(str(dir))[0].run(os.fspath(run)))
    return RunReader(FilesRun(remote(run)) if paths.is_url(run) else runs_.find(run, dir))


class RunReader:
    """Reads one run. Each method reads anew, so a live run is as fresh as its ledger (at most 1 s behind).

    Each method sees one moment: every point that was posted then, exactly once. Threads may share a reader; a
    forked child opens its own. A reader keeps the unsealed points (about 60 bytes each) and a DuckDB in memory
    until it is closed or dropped; it holds nothing that another process waits for.

    Of a run in an object store `dir` is the directory of its copies; a live one is read up to what has been
    uploaded, at most 1 s behind that.
    """

    def __init__(self, run: Path | str | EngineRun) -> None:
        self._run: EngineRun = FilesRun(run) if isinstance(run, Path | str) else run
        self._own = self._run if isinstance(self._run, FilesRun) else None
        self.dir = self._run.dir

    def __repr__(self) -> str:
        return f"<RunReader {self.url or str(self.dir)!r}>"

    @property
    def url(self) -> str | None:
        """Where the run is in an object store or a database; None for one on this machine."""
        return self._run.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory it keeps. Results of `sql` that were not fetched yet are lost; reading again is possible."""
        self._run.close()

    def _files(self, what: str) -> FilesRun:
        """The run's own files. Raises UsageError where it is read from a database, which has none."""
        if self._own is None:
            msg = f"{what} needs the run's own files, and {self.url} is a database: ask where the run was recorded"
            raise UsageError(msg)
        return self._own

    # -- what there is ---------------------------------------------------------------------------------

    @property
    def info(self) -> Info:
        """Name, project, state, config, summary, attempts, ranks and times, as they are now."""
        return self._run.info()

    def verify(self) -> tuple[Loss, ...]:
        """Compare every part of the run with its checksum and say what is damaged: rows (`count`), bytes and why.

        A part is read whole the first time (about 5 GB/s from memory); other methods compare what they read. Parts
        without a checksum (older ones, or copies without ledger and manifest) are taken for intact.

        Returns:
            A `Loss` for each damage that was found; empty: every part is intact.
        """
        own = self._files("verify")
        again(lambda: own.engine.files(self.dir, own.view().snapshot.parts))
        return tuple(loss for path, loss in own.engine.losses.items() if Path(path) == self.dir / loss.name)

    def keys(self) -> list[str]:
        """Every key that has a point in the run, sorted; those whose points a rewind hides included.

        Returns:
            The sorted keys; empty: nothing was posted yet.
        """
        return self._run.keys()

    @property
    def summary(self) -> dict[str, dict[str, Any]]:
        """By key {"last", "min", "max", "count"} of the points that rewinds leave, with the step and the rank of each.

        `last` is the last in order of step (then attempt and rank), at `last_step` on `last_rank`; `min_step` is the
        first step that has the smallest value, and so on. NaN and texts count, but are neither min nor max, which are
        None for a key without a number and the nearest float for an int beyond 2**53. What the user set is
        `info.summary`.
        """
        return self._run.summary()

    # -- points ----------------------------------------------------------------------------------------

    def series(
        self,
        key: str,
        *,
        points: int | None = None,
        rank: int | None = None,
        attempt: int | str = "latest",
        steps: tuple[int | None, int | None] | None = None,
        over: str | None = None,
        x: str = "step",
    ) -> Series:
        """One key's points in order of step, as numpy arrays of shape (n,).

        With `over` all ranks' points at a step are one: of one rank's several points at a step the last record
        counts. mean, median, sum and std (of all ranks, so over n) are those of the finite values, NaN without
        any; min and max leave NaN out, and are the point itself, with its `rank`, `record` and time; count is the
        number of ranks with a point, whatever it is. Else `rank` and `record` are -1, and `time` is the latest.

        Args:
            key: the key; one that a running run does not have yet gives an empty series.
            points: at most so many, at least 2: the first, last, smallest and largest value, and the edges of
                runs of NaN are kept (see `steno.store.downsample`).
            rank: only this rank's.
            attempt: "latest": what rewinds leave; "all": everything; a number: that attempt's, whether hidden
                or not.
            steps: (first, last), both included; None leaves a side open.
            over: "mean", "min", "max", "std", "sum", "count" or "median" of the ranks; None: each point by itself.
            x: what ranks are aligned by: "step", or "index", where each rank's first points are one, then its
                second ones, in order of step; `step` then counts from 0. Automatic steps are counted over all
                ranks together, so that no two ranks have the same: they are aligned by "index".

        Returns:
            The points; each array has its dtype and unit at `Series`.

        Raises:
            UsageError: a run that has ended has no such key, or an argument is not what it may be.
            CorruptError: a part that is listed is not there.
        """
        ranks_.check(over, x)
        key = spelt(key)
        choose = partial(attempts_.choose, attempt=attempt, rank=rank, steps=steps)
        if points is not None and over is None:
            check_points(points)
            few = self._run.few(key, int(points), choose)
            if few is not None and len(few):
                return few
        (found,) = self._run.points([key], choose)
        if not len(found):
            self._require([key])
        series = series_of(key, found)
        if over is not None:
            series = ranks_.united(series, over, x)
        return series if points is None else series.take(downsample(series.value, points))

    def stragglers(
        self,
        key: str,
        *,
        attempt: int | str = "latest",
        steps: tuple[int | None, int | None] | None = None,
        x: str = "step",
    ) -> Stragglers:
        """Every rank by how far it is from the others, the farthest first: of a step's duration, the slowest ones.

        At each step where at least two ranks have a finite value, a rank deviates by its value minus the median of
        the ranks. Its `deviation` is the median of that over the steps, so that single pauses count for nothing.
        Its `score` is the deviation minus the ranks' median deviation, divided by 1.4826 times the median of the
        absolute differences from it (where that is 0, by 1.2533 times their mean). An outlier has a score beyond
        3.5 either way, and is on that side of the ranks' median at 3 of 4 steps at least. Of two ranks nobody can
        say which one is apart.

        Args:
            key, attempt, steps, x: as for `series`.

        Returns:
            One `Straggler` for each rank that shares a step with another; prints as a table.

        Raises:
            UsageError: a run that has ended has no such key, or an argument is not what it may be.
            CorruptError: a part that is listed is not there.
        """
        ranks_.check("median", x)
        return ranks_.stragglers(self.series(key, attempt=attempt, steps=steps), x)

    def frame(
        self,
        keys: str | Iterable[str] | None = None,
        on: str = "step",
        as_: str = "pandas",
        *,
        rank: int | None = None,
        attempt: int | str = "latest",
        steps: tuple[int | None, int | None] | None = None,
    ) -> Any:
        """Keys side by side, as a pandas or polars frame or an Arrow table.

        The columns of the join come first. A metric's column is float64; int64 or text where a float cannot
        hold its values. A column of the join steps aside as `_step` for a key of the same name.

        Args:
            keys: one or several; None: all.
            on: "step": outer join on (step, rank, attempt), where of several records the last one's value
                stands; "time": on (time, rank, attempt); "record": one row per call.
            as_: "pandas", "polars" or "arrow". A value that is not there is null (NaN in pandas).
            rank, attempt, steps: as for `series`.

        Returns:
            A `pandas.DataFrame`, a `polars.DataFrame` or a `pyarrow.Table`, in order of the join's columns.

        Raises:
            UsageError: unknown key (of a run that has ended), `on` or `as_`, or the library is not installed.
        """
        frame_.check(on, as_)
        asked = [keys] if isinstance(keys, str) else self.keys() if keys is None else keys
        wanted = list(dict.fromkeys(map(spelt, asked)))
        choose = partial(attempts_.choose, attempt=attempt, rank=rank, steps=steps)
        points = self._run.points(wanted, choose, frame_.unused(on))
        absent = [key for key, found in zip(wanted, points, strict=True) if not len(found)]
        if absent:
            self._require(absent)
        return frame_.convert(frame_.join(points, wanted, on), as_)

    def _require(self, keys: Iterable[str]) -> None:
        """Raise UsageError for a key that an ended run does not have."""
        known = self.keys()
        unknown = [key for key in keys if key not in set(known)]
        if not unknown or not known or self._run.state() in {"", "running"}:
            return
        near = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0.5)
        few = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"it has {few}"
        msg = f"the run {self.dir.name} has no key {unknown[0]!r}: {hint}"
        raise UsageError(msg)

    def media(self, key: str, *, rank: int | None = None, attempt: int | str = "latest") -> list[MediaItem]:
        """One key's media values in order of step, or, for a logged list, those of `key/0`, `key/1`, … at each step.

        Args:
            key, rank, attempt: as for `series`.

        Returns:
            One `MediaItem` for each value; its file is read when its `value` is.

        Raises:
            UsageError: a run that has ended has no such key.
            CorruptError: a part that is listed is not there.
        """
        key, own = spelt(key), self._files("media")
        choose = partial(attempts_.choose, attempt=attempt, rank=rank)
        found: list[MediaItem] = []
        for name in media_.keys_of(key, self.keys()):
            (points,) = own.points([name], choose)
            fetch = None if own.remote is None else own.remote.media
            found.extend(media_.items(self.dir, series_of(name, points), fetch))
        if not found:
            self._require([key])
        return sorted(found, key=media_.order)

    # -- artifacts -------------------------------------------------------------------------------------

    def artifact(self, name: str | None = None, *, digest: str | None = None) -> Artifact:
        """A file or directory kept with the run: what the name means now, or the content of that digest.

        Args:
            name: an artifact's or an alias's, which is followed.
            digest: the first 6 digits or more; with `name`, among the versions of that.

        Returns:
            That version of it.

        Raises:
            UsageError: there is none, or several contents have such a digest.
        """
        return artifacts_.chosen(self._artifact_index(), self.dir.name, name, digest)

    def artifacts(self) -> list[Artifact]:
        """What the names of the run's artifacts mean now, in the order of logging; `versions` has the older ones.

        Returns:
            One `Artifact` for each name; none for aliases.
        """
        current = self._artifact_index().current.values()
        return sorted((one for one in current if not isinstance(one, str)), key=lambda one: (one.time, one.record))

    def _artifact_index(self) -> artifacts_.ArtifactIndex:
        own = self._files("an artifact")
        hidden = attempts_.choose(own.attempts(), "latest").hidden
        fetch = None if own.remote is None else own.remote.content
        return artifacts_.index_artifacts(self.dir, self.records(ARTIFACT), hidden, fetch)

    # -- records ---------------------------------------------------------------------------------------

    def records(self, kind: str | None = None, *, last: int | None = None) -> list[Entry]:
        """What is not a point: events, tasks, printed lines, config changes, notes; in the order they were numbered.

        Args:
            kind: only those of this kind (see `steno.record`).
            last: only the last so many; None: all.

        Returns:
            The entries; their times are in ns since 1970, UTC.
        """
        return self._run.entries(kind, last)

    def entry_page(
        self,
        kind: str | None = None,
        *,
        rank: int | None = None,
        match: str = "",
        offset: int = 0,
        limit: int = 1000,
    ) -> EntryPage:
        """Some of the entries, of which there may be millions: a page costs about what it holds, wherever it stands.

        Args:
            kind, rank: only those of this kind, of this rank.
            match: only those that hold this text, whatever its case; a printed line is searched without its colours.
            offset: of the first; below 0: counted from the end.
            limit: at most so many.

        Returns:
            The entries of the page, and how many there are in all.
        """
        from steno.store import entrypages

        wanted = entrypages.EntryFilter(kind, rank, match)
        if self._own is None:
            return entrypages.page_of(self._run.entries(None, None), wanted, offset, limit)
        return self._own.entry_page(wanted, offset, limit)

    def tail(self, *, last: int = 10, follow: bool = True, poll_secs: float = 0.1) -> Iterator[Record | Entry]:
        """The newest records and entries, then each new one once, until the run has ended and all of it was given.

        A device value that comes late gives a further `Record` of the same number.

        Args:
            last: how many of the newest come first.
            follow: False: it ends with what is there now.
            poll_secs: seconds between two looks for new ones.

        Returns:
            An iterator; times are in ns since 1970, UTC.
        """
        own = self._files("tail")
        return records_.tail(own.engine, self.dir, own.view, own.state, last=last, follow=follow, poll_secs=poll_secs)

    def batches(self, *, media: bool = False) -> Iterator[Batch]:
        """Every batch posted by now, in order, what rewinds hide included; one part is in memory at a time.

        Args:
            media: of a run in an object store, have the files of a batch's media values below `dir` before it comes.

        Returns:
            An iterator over `Batch`es, columns of records.

        Raises:
            CorruptError: a part that is listed is not there.
        """
        own = self._files("batches")
        if own.remote is not None:
            again(lambda: own.engine.files(self.dir, own.view().snapshot.parts))
            if media:
                return stream_.with_media(stream_.batches(self.dir), own.remote.media)
        return stream_.batches(self.dir)

    # -- edits -----------------------------------------------------------------------------------------

    def edit(
        self,
        *,
        name: str | None = None,
        tags: str | Iterable[str] | None = None,
        add_tags: str | Iterable[str] | None = None,
        remove_tags: str | Iterable[str] | None = None,
        notes: str | None = None,
        archived: bool | None = None,
        colour: str | None = None,
        by: str | None = None,
    ) -> None:
        """Change what people call the run and say of it, while it goes on or after it. See docs/edits.md.

        What was recorded stays as it is; this adds a line to `edits.jsonl` in the run's directory, or an object to
        its store. Threads, processes and machines may edit one run together: no edit is lost, and of one field the
        last wins. An edit is on the disk when this returns.

        Args:
            name: the name that is shown; the directory keeps its own, and both name the run. "": as recorded.
            tags: all tags from now on.
            add_tags, remove_tags: only these, the others stay.
            notes: the whole text, "" for none.
            archived: whether `steno.runs` leaves the run out.
            colour: of its lines in the viewer, as "#0072b2"; "": the viewer chooses.
            by: who edits; None: this user on this machine.

        Raises:
            UsageError: a value that cannot be, is too long for a line of 4 KiB, or a name that is another run's.
            StenoError: the directory or the store cannot be written.
        """
        wanted = editing_.changes(
            name=name, tags=tags, add_tags=add_tags, remove_tags=remove_tags, notes=notes, archived=archived,
            colour=colour,
        )  # fmt: skip
        editing_.edit(self.dir, self._files("edit").remote, wanted, by)

    # -- everything ------------------------------------------------------------------------------------

    def sql(self, query: str, values: Sequence[Any] | None = None) -> duckdb.DuckDBPyRelation:
        """The result of a query over `metrics`, `metrics_all`, `records`, `runs` and `config`; see `steno.sql`.

        It is read whole, at one moment; take it with `.df()`, `.pl()`, `.fetchall()` or `.to_arrow_table()`.

        Args:
            query: one statement of DuckDB's SQL.
            values: for the `?` in it.

        Returns:
            The result, a relation of DuckDB's.

        Raises:
            UsageError: the query is wrong.
        """
        engine = self._own.engine if self._own is not None else Engine()
        return engine.cursor().from_arrow(self._run.sql(query, values))

    def export(
        self,
        to: str,
        path: str | os.PathLike[str],
        *,
        keys: str | Iterable[str] | None = None,
        long: bool = False,
    ) -> int:
        """Write the points to one file, csv, jsonl or parquet. See `steno.store.export`.

        Args:
            to: "csv", "jsonl" or "parquet".
            path: the file, replaced.
            keys: only these; None: all.
            long: of csv, one row per point instead of one per record.

        Returns:
            How many points were written.

        Raises:
            UsageError: unknown format, no such key, or the file cannot be written.
        """
        wanted = None if keys is None else list(map(spelt, [keys] if isinstance(keys, str) else keys))
        if wanted is not None:
            self._require(wanted)
        target = Path(paths.local("path", path))
        own = self._files("export")
        return again(lambda: export_.export(own.engine, own.source(), to, target, keys=wanted, long=long))

    def view(
        self,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        browser: bool | None = None,
        token: bool = True,
        allow_edit: bool = False,
    ) -> Viewer:
        """Show the run in a browser, or in a notebook's cell; its neighbours in the same place can be added.

        Args:
            port, host, browser, token, allow_edit: as for `steno.view`.

        Returns:
            The viewer, which serves until it is closed or the process ends.

        Raises:
            UsageError: as for `steno.view`.
        """
        from steno.viewer.started import start

        if self.url is None:
            place = self.dir.absolute()
            root, run = str(place.parent), place.name
        else:
            root, project, name = self.url.rstrip("/").rsplit("/", 2)
            run = f"{project}/{name}"
        return start(root, run=run, port=port, host=host, browser=browser, token=token, allow_edit=allow_edit)


def remote(url: Any) -> Remote:
    """The run at a URL; what reads object stores is loaded now."""
    from steno.store.remote import Remote

    return Remote(url)


def spelt(key: Any) -> str:
    """A key as it stands in the run: what is no valid unicode was escaped when it was logged.

    Raises:
        UsageError: it is no string.
    """
    if not isinstance(key, str):
        msg = f"a key is a string, not {type(key).__name__}: {key!r}"
        raise UsageError(msg)
    return escaped(key)
