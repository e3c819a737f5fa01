"""A run's records as event files in a directory of their own, written by the tensorboard destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.errors import UsageError
from steno.record import Batch, RunInfo

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.store.reader import RunReader


def write(reader: RunReader, target: Path) -> tuple[int, int]:
    """Write all of a run's points. Rank 0 in `target` itself, the others in `target/rank-N`.

    The run is read batch by batch: memory is bounded by the largest part, not by the run.

    Returns:
        How many were written, and how many media were left out.

    Raises:
        UsageError: the directory cannot be made, or something is in it already.
    """
    from steno.destinations.tensorboard.destination import TensorBoard

    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise UsageError(f"{target} is not empty; name a new directory with --out")
    except OSError as error:
        raise UsageError(f"cannot write event files in {target}: {error.strerror or error}") from error
    info = reader.info
    made: dict[int, TensorBoard] = {}
    points = 0
    try:
        for batch in reader.batches(media=True):
            # Entries go to every file: a rewind hides the points of all ranks.
            for rank in sorted({*made, *batch.rank.tolist()}):
                if rank not in made:
                    place = target / f"rank-{rank}" if rank else target
                    place.mkdir(exist_ok=True)
                    destination = TensorBoard()
                    destination.media_dir = reader.dir
                    destination.open(RunInfo(place, info.id, info.name, info.project, info.config, layout="logdir"))
                    made[rank] = destination
                made[rank].write(_of_rank(batch, rank))
            points += len(batch.value)
        for destination in made.values():
            destination.flush()
    finally:
        for destination in made.values():
            destination.close()
    left_out = sum(sum(destination.left_out.values()) for destination in made.values())
    return points - left_out, left_out


def _of_rank(batch: Batch, rank: int) -> Batch:
    """The records of one rank, and all entries."""
    import numpy as np

    mine = batch.rank == rank
    if mine.all():
        return batch
    rows: NDArray[np.int64] = np.flatnonzero(mine)
    new_row = np.cumsum(mine) - 1
    chosen = np.repeat(mine, batch.widths())
    new_point = np.cumsum(chosen) - 1
    return Batch(
        id=batch.id,
        node=batch.node,
        record=batch.record[rows],
        time=batch.time[rows],
        step=batch.step[rows],
        rank=batch.rank[rows],
        attempt=batch.attempt[rows],
        set=batch.set[rows],
        sets=batch.sets,
        value=batch.value[chosen],
        special={int(new_point[point]): value for point, value in batch.special.items() if chosen[point]},
        entries=batch.entries,
        meta={int(new_row[row]): meta for row, meta in batch.meta.items() if mine[row]},
    )
