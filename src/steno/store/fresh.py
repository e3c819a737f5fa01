"""Which keys of a run have new points, up to which step, and whether somebody records; what is seen is not kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steno.ledger.read import Reader

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Look:
    """What is new of a run."""

    keys: frozenset[str] | None
    """Those that got points; None where nobody can tell: so much was posted that some of it is sealed already."""
    step: int | None
    """The highest of those points."""
    goes_on: bool
    """Whether its ledgers know of a writer that lives."""


class Fresh:
    """Follows one run, for those that show it. Not thread-safe.

    Args:
        run_dir: the run's directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._seen = dict(Reader(run_dir).snapshot(batches=False).last_batch)

    def look(self) -> Look:
        """What came since the last look."""
        snapshot = Reader(self._run_dir).snapshot(since=self._seen)
        before, self._seen = self._seen, dict(snapshot.last_batch)
        goes_on = any(one.state in {"live", "adopted"} for one in snapshot.streams)
        first: dict[int, int] = {}
        for batch in snapshot.batches:
            first[batch.node] = min(first.get(batch.node, batch.id), batch.id)
        for node, last in self._seen.items():
            if last != before.get(node, 0) and first.get(node, last + 1) != before.get(node, 0) + 1:
                return Look(None, None, goes_on)
        keys = frozenset(key for batch in snapshot.batches for keys in batch.sets for key in keys)
        steps = [int(batch.step.max()) for batch in snapshot.batches if len(batch.step)]
        return Look(keys, max(steps, default=None), goes_on)
