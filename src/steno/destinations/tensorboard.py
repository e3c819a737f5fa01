"""Event files that TensorBoard reads, one directory per rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.destinations.file import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from steno.destinations.eventfile import Encoder
    from steno.record import Batch, RunInfo

_OPEN_FILES = 64


class TensorBoard:
    """Numbers as scalars, text and media as their own summaries, exactly once; one event per record.

    Rank 0 writes in `tensorboard/` of the run directory, rank N in `tensorboard/rank-N/`; in a writers' logdir,
    in the logdir itself and its `rank-N/`. A rewind makes TensorBoard forget the points from that step on.
    Used by one thread. Nothing is lost if the process dies: the collector gives the unsaved batches again, and
    what the files hold already is not written twice.
    """

    kinds = frozenset({"points", "start"})

    def __init__(self) -> None:
        self._run: RunInfo | None = None
        self._encoder: Encoder | None = None
        self._files: dict[int, Tail] = {}
        self._rewound = 0

    @property
    def position(self) -> dict[str, Any]:
        """By rank the event file and its delivered bytes; the attempt whose rewind has been written."""
        assert self._run is not None
        files = {
            str(rank): {"name": str(tail.path.relative_to(self._run.dir)), "size": tail.at}
            for rank, tail in self._files.items()
        }
        return {"files": files, "rewound": self._rewound}

    def open(self, run: RunInfo) -> None:
        """Begin, or go on from `run.position`; makes no file before the first point."""
        from steno.destinations.eventfile import Encoder
        from steno.destinations.summary_media import Media

        self.close()
        self._run, self._encoder = run, Encoder(Media(run.dir).values)
        saved: Mapping[str, Any] = run.position or {}
        self._rewound = int(saved.get("rewound", 0))
        self._files = {
            int(rank): Tail(run.dir / one["name"], int(one["size"]), lines=False)
            for rank, one in saved.get("files", {}).items()
        }

    def write(self, batch: Batch) -> None:
        """Append the batch to the files of its ranks; OSError when one cannot be written."""
        import numpy as np

        rewinds, rewound = self._rewinds(batch)
        ranks = np.unique(batch.rank).tolist() if len(batch) else []
        if rewinds:
            ranks = sorted({*ranks, *self._files})
        splits = batch.splits()
        for rank in ranks:
            rows = np.flatnonzero(batch.rank == rank)
            self._append(rank, batch, splits, rows, rewinds)
        for rank in ranks:
            if rank in self._files:
                self._files[rank].commit()
        self._rewound = rewound
        self._spare()

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
        rank: int,
        batch: Batch,
        splits: NDArray[np.int64],
        rows: NDArray[np.int64],
        rewinds: list[tuple[int, int, int]],
    ) -> None:
        assert self._encoder is not None
        data = bytearray()
        done = 0
        known = rank in self._files
        for place, time, step in rewinds:
            upto = int(rows.searchsorted(place))
            data += self._encoder.encode(batch, splits, rows[done:upto])
            done = upto
            if data or known:  # a file that begins later has nothing to forget
                data += _session_start(time, step)
        data += self._encoder.encode(batch, splits, rows[done:])
        if data:
            self._put(rank, int(batch.time[rows[0]]) if len(rows) else rewinds[0][1], data)

    def _put(self, rank: int, time: int, data: bytearray) -> None:
        """Append to the rank's file, or begin the next one when there is none or it is not as we left it."""
        from steno.destinations.eventfile import file_version

        tail = self._files.get(rank)
        if tail is not None and tail.settle() and not tail.missing_bytes:
            head = b"" if tail.at else file_version(time)
            if tail.append(head + data):
                return
        for path in self._paths(rank, time):
            fresh = Tail(path, lines=False)
            try:
                if fresh.append(file_version(time) + data):
                    if tail is not None:
                        tail.release()
                    self._files[rank] = fresh
                    return
            finally:
                if self._files.get(rank) is not fresh:
                    fresh.release()

    def _paths(self, rank: int, time: int) -> Iterator[Any]:
        """Names that are unique per run and node, the same after a crash, and sort by time."""
        assert self._run is not None
        run = self._run
        place = run.dir if run.layout == "logdir" else run.dir / "tensorboard"
        if rank:
            place /= f"rank-{rank}"
        id = "".join(letter if letter.isalnum() else "-" for letter in run.id)[:64] or "run"
        seconds = max(time, 0) // 1_000_000_000
        for number in range(10_000):
            yield place / f"events.out.tfevents.{seconds:010d}.{id}.{run.node}.{number:04d}"

    def _spare(self) -> None:
        """Hold few descriptors, however many ranks there are."""
        held = [tail for tail in self._files.values() if tail.is_open]
        for tail in held[:-_OPEN_FILES]:
            tail.release()


def _session_start(time: int, step: int) -> bytes:
    from steno.destinations.eventfile import session_start

    return session_start(time, step)
