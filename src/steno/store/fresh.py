"""Which keys of a run have new points, and up to which step; what is looked at is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.ledger.read import Reader

if TYPE_CHECKING:
    from pathlib import Path


class Fresh:
    """Follows one run, for those that show it. Not thread-safe.

    Args:
        run_dir: the run's directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._seen = dict(Reader(run_dir).snapshot(batches=False).last_batch)

    def look(self) -> tuple[frozenset[str] | None, int | None]:
        """(the keys that got points since the last look, the highest step of those points).

        The keys are None where nobody can tell: so much was posted that some of it is sealed already.
        """
        snapshot = Reader(self._run_dir).snapshot(since=self._seen)
        before, self._seen = self._seen, dict(snapshot.last_batch)
        first: dict[int, int] = {}
        for batch in snapshot.batches:
            first[batch.node] = min(first.get(batch.node, batch.id), batch.id)
        for node, last in self._seen.items():
            if last != before.get(node, 0) and first.get(node, last + 1) != before.get(node, 0) + 1:
                return None, None
        keys = frozenset(key for batch in snapshot.batches for keys in batch.sets for key in keys)
        steps = [int(batch.step.max()) for batch in snapshot.batches if len(batch.step)]
        return keys, max(steps, default=None)
