"""Event files that TensorBoard reads, one directory per rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.destinations.file import Tail
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.destinations.tensorboard.eventfile import Encoder
    from steno.destinations.tensorboard.media import Media
    from steno.destinations.tensorboard.subruns import Shown
    from steno.record import Batch, RunInfo

_OPEN_FILES = 64


class TensorBoard:
    """Numbers as scalars, text and media as their own summaries, exactly once; one event per record.

    Rank 0 writes in `tensorboard/` of the run directory, rank N in `tensorboard/rank-N/`; all ranks of a writers'
    logdir in the logdir itself, and what its writers put into sub-runs in `logdir/<name>/`. A rewind makes
    TensorBoard forget the points from that step on. Used by one thread. Nothing is lost if the process dies: the
    collector gives the unsaved batches again, and what the files hold already is not written twice.

    Args:
        suffix: of the files' names.
    """

    kinds = frozenset({"points", "start"})

    def __init__(self, suffix: str = "") -> None:
        if not isinstance(suffix, str) or "/" in suffix or "\0" in suffix:
            raise ValueError(f"suffix={suffix!r} cannot end a file's name")
        self._suffix = suffix
        self.media_dir: Path | None = None
        """The run whose media are shown, where the files are written into another directory than that."""
        self._run: RunInfo | None = None
        self._encoder: Encoder | None = None
        self._media: Media | None = None
        self._files: dict[str, Tail] = {}
        self._rewound = 0

    @property
    def position(self) -> dict[str, Any]:
        """By place the event file and its delivered bytes; the attempt whose rewind has been written."""
        assert self._run is not None
        files = {
            place: {"name": str(tail.path.relative_to(self._run.dir)), "size": tail.at}
            for place, tail in self._files.items()
        }
        return {"files": files, "rewound": self._rewound}

    @property
    def left_out(self) -> dict[str, int]:
        """Media that TensorBoard has no place for, or whose file was not to be had, since `open`, by kind."""
        return {} if self._media is None else self._media.left_out

    def open(self, run: RunInfo) -> None:
        """Begin, or go on from `run.position`; makes no file before the first point."""
        from steno.destinations.tensorboard.eventfile import Encoder
        from steno.destinations.tensorboard.media import Media

        self.close()
        self._run, self._media_dir = run, self.media_dir or run.dir
        self._media = Media(self._media_dir, waits_again=self.media_dir is None)
        self._encoder = Encoder(self._media.values)
        saved: Mapping[str, Any] = run.position or {}
        self._rewound = int(saved.get("rewound", 0))
        self._files = {
            place: Tail(run.dir, one["name"], one["size"], lines=False) for place, one in saved.get("files", {}).items()
        }

    def write(self, batch: Batch) -> None:
        """Append the batch to the files of its places; OSError when one cannot be written."""
        rewinds, rewound = self._rewinds(batch)
        splits = batch.splits()
        rows, shown = self._by_place(batch, splits)
        places = sorted({*rows, *shown, *(self._files if rewinds else ()), *(self._foreign() if rewinds else ())})
        for place in places:
            self._append(place, batch, splits, rows.get(place), shown.get(place, []), rewinds)
        for place in places:
            if place in self._files:
                self._files[place].commit()
        self._rewound = rewound
        self._spare()

    def _by_place(
        self, batch: Batch, splits: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[np.int64]], dict[str, list[Shown]]]:
        """The batch's rows by the place whose file they go to; and the events of those that are shown apart."""
        import numpy as np

        assert self._run is not None
        assert self._media is not None
        # Late: naming a destination must not load numpy.
        from steno.destinations.tensorboard import projector, subruns

        odd = subruns.rows_of(batch) if batch.meta else []
        plain = np.ones(len(batch), np.bool_)
        plain[odd] = False
        rows: dict[str, NDArray[np.int64]] = {}
        if self._run.layout == "logdir":
            if plain.any():
                rows[""] = np.flatnonzero(plain)
        else:
            for rank in np.unique(batch.rank[plain]).tolist():
                rows[str(rank)] = np.flatnonzero(plain & (batch.rank == rank))
        shown: dict[str, list[Shown]] = {}
        for row in odd:
            base = "" if self._run.layout == "logdir" else str(batch.rank[row])
            projector.place(batch, splits, row, self._folder(base), self._run.dir, self._media_dir)
            for one in subruns.shown(batch, splits, row, self._media.values, self._media_dir):
                sub = subruns.folder(one[0])
                if one[2]:
                    shown.setdefault("/".join(filter(None, (base, sub))), []).append(one)
        return rows, shown

    def _foreign(self) -> tuple[str, ...]:
        """The logdir itself, when files of other writers are there, whose points a rewind hides too."""
        assert self._run is not None
        return ("",) if "" not in self._files and self._after(self._run.dir, "") else ()

    def flush(self) -> None:
        """Nothing: what `write` returned from can be read."""

    def close(self) -> None:
        """Sync and close the files."""
        for tail in self._files.values():
            tail.close()

    def _rewinds(self, batch: Batch) -> tuple[list[tuple[int, int, int]], int]:
        """(place, time, step) of each attempt's first rewind, and the newest attempt that had one.

        Every process of an attempt says the rewind as it joins; said twice, it would hide the new points.
        """
        from steno.destinations.order import places

        found, rewound = [], self._rewound
        for place, entry in zip(places(batch), batch.entries, strict=True):
            step = entry.payload.get("rewind")
            if entry.kind == "start" and isinstance(step, int) and entry.attempt > rewound:
                rewound = entry.attempt
                found.append((place, entry.time, step))
        return found, rewound

    def _append(
        self,
        place: str,
        batch: Batch,
        splits: NDArray[np.int64],
        rows: NDArray[np.int64] | None,
        shown: list[Shown],
        rewinds: list[tuple[int, int, int]],
    ) -> None:
        import numpy as np

        assert self._encoder is not None
        rows = np.empty(0, np.int64) if rows is None else rows
        data = bytearray()
        done = written = 0
        known = place in self._files or place in self._foreign()
        for at, time, step in rewinds:
            upto = int(rows.searchsorted(at))
            data += self._encoder.encode(batch, splits, rows[done:upto])
            done = upto
            while written < len(shown) and shown[written][1] < at:
                data += shown[written][2]
                written += 1
            if data or known:  # a file that begins later has nothing to forget
                data += _session_start(time, step)
        data += self._encoder.encode(batch, splits, rows[done:])
        for one in shown[written:]:
            data += one[2]
        if data:
            first = min([*rows[:1].tolist(), *(one[1] for one in shown[:1])], default=None)
            self._put(place, rewinds[0][1] if first is None else int(batch.time[first]), data)

    def _put(self, place: str, time: int, data: bytearray) -> None:
        """Append to the place's file, or begin the next one when there is none or it is not as we left it."""
        from steno.destinations.tensorboard.eventfile import file_version

        assert self._run is not None
        tail = self._files.get(place)
        if tail is not None and tail.reopen() and not tail.missing_bytes:
            head = b"" if tail.at else file_version(time)
            if tail.append(head + data):
                return
        for path in self._paths(place, time):
            fresh = Tail(self._run.dir, path.relative_to(self._run.dir).as_posix(), lines=False)
            try:
                if fresh.append(file_version(time) + data):
                    if tail is not None:
                        tail.release()
                    self._files[place] = fresh
                    return
            finally:
                if self._files.get(place) is not fresh:
                    fresh.release()

    def _paths(self, place: str, time: int) -> Iterator[Any]:
        """Names that are unique per run and node, the same after a crash, and sort by time."""
        assert self._run is not None
        run = self._run
        folder = self._folder(place)
        id = "".join(letter if letter.isalnum() else "-" for letter in run.id)[:64] or "run"
        seconds = max(max(time, 0) // 1_000_000_000, self._after(folder, id))
        for number in range(10_000):
            yield folder / f"events.out.tfevents.{seconds:010d}.{id}.{node_name(run.node)}.{number:04d}{self._suffix}"

    def _after(self, folder: Path, id: str) -> int:
        """The second behind the files of other writers: TensorBoard reads a directory's files in order of name."""
        assert self._run is not None
        latest = 0
        if self._run.layout == "logdir":
            for path in folder.glob("events.out.tfevents.*"):
                seconds, _, rest = path.name.removeprefix("events.out.tfevents.").partition(".")
                if seconds.isdecimal() and len(seconds) == 10 and not rest.startswith(f"{id}."):
                    latest = max(latest, int(seconds) + 1)
        return latest

    def _folder(self, place: str) -> Path:
        """The directory of a place: of a rank, of the logdir, and a sub-run's behind them."""
        assert self._run is not None
        if self._run.layout == "logdir":
            return self._run.dir / place if place else self._run.dir
        rank, _, sub = place.partition("/")
        folder = self._run.dir / "tensorboard"
        if rank != "0":
            folder /= f"rank-{rank}"
        return folder / sub if sub else folder

    def _spare(self) -> None:
        """Hold few descriptors, however many ranks there are."""
        held = [tail for tail in self._files.values() if tail.is_open]
        for tail in held[:-_OPEN_FILES]:
            tail.release()


def _session_start(time: int, step: int) -> bytes:
    from steno.destinations.tensorboard.eventfile import session_start

    # TensorBoard takes the first one it meets in a directory for the session's beginning, and forgets nothing by it.
    return session_start(time, step) * 2
