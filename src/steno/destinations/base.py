"""The seam: what a destination is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from steno.record import Batch, RunInfo


@runtime_checkable
class Destination(Protocol):
    """A place records go to. One file, at most these four methods; all are called from one worker thread.

    Which records it takes is said by an optional attribute `kinds`: a frozenset of "points" and the
    entry kinds of `steno.record` (default: points only). Entries of other kinds are left out of
    `batch.entries`, and without "points" the batch has no points.

    A destination that writes files may have an attribute `position`: a small JSON-able mapping that
    says how far its files have got (say `{"metrics.csv": 1234}`). It is saved together with the cursor
    and given back as `run.position`, so that after a crash the destination encodes the batch again,
    compares with the tail of its file and appends only what is missing.

    Two more optional attributes are for services. `lost`, true after `open`: the place holds less than
    `run.position` says, so the run is given again from its first batch. `left_out`, a mapping of words to
    counts: what the place cannot take; each is said once, and all are in the destination's health.
    """

    def open(self, run: RunInfo) -> None:
        """Begin, or go on after a restart.

        `run` says which run it is and where its files stand.
        Raise `steno.Stop` when misconfigured; anything else is tried again.
        """

    def write(self, batch: Batch) -> None:
        """Deliver the batch: returning means delivered.

        Raise `steno.Retry`, or anything else, to be given the same batch (same `id`, same boundaries)
        again after a wait; `steno.Skip(records)` to give records up, counted; `steno.Stop` when no
        retry will help. After ten failures of one type that are no `Retry` the batch comes by halves,
        and a record that is refused alone is given up.
        """

    def flush(self) -> None:
        """Make what was delivered visible to its readers; called when there is a pause, and before `close`."""

    def close(self) -> None:
        """End; called once, also after errors."""
