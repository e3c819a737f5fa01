"""All batches of a run in the order they were numbered, one part in memory at a time."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from steno.errors import CorruptError
from steno.ledger.read import Reader
from steno.ledger.rebuild import PartBatches
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part, Snapshot
    from steno.record import Batch

_TRIES = 50


def with_media(found: Iterator[Batch], fetch: Callable[[Ref], None]) -> Iterator[Batch]:
    """The same batches, each once the files of its media values were fetched."""
    for batch in found:
        for one in batch.special.values():
            if isinstance(one, Ref):
                fetch(one)
        yield batch


def batches(run_dir: Path) -> Iterator[Batch]:
    """Each batch that is posted when this begins, by node and number; those that rewinds hide too.

    The points of one part are in memory, some 100 bytes each, and one batch that is not sealed. Of a damaged part
    what is good is given (RuntimeWarning); a damaged batch, which the ledger's losses name, is passed over.

    Raises:
        CorruptError: a part that is listed is not there.
    """
    reader = Reader(run_dir)
    snapshot = reader.snapshot(batches=False)
    until = dict(snapshot.last_batch)
    for part in snapshot.parts:
        until[part.node] = max(until.get(part.node, 0), part.last_batch)
    for node, last in sorted(until.items()):
        done = tries = 0
        while done < last:
            try:
                for batch in _sealed(run_dir, snapshot, node, done):
                    if batch.id > last:
                        break
                    done, tries = batch.id, 0
                    yield batch
                break
            except FileNotFoundError as error:
                # Merged meanwhile: the batches that follow are in another part.
                tries += 1
                if tries > _TRIES:
                    missing = error.filename or error
                    msg = f"the part {missing} is listed and not there: copy it next to the others"
                    raise CorruptError(msg) from error
                snapshot = reader.snapshot(batches=False)
        sealed = max((part.last_batch for part in snapshot.parts if part.node == node), default=0)
        for id in range(max(done, sealed) + 1, last + 1):
            unsealed = None
            with contextlib.suppress(CorruptError):
                # A snapshot's batches lack their entries; sealed meanwhile, it comes from its part.
                unsealed = reader.batch(node, id)
            if unsealed is not None:
                yield unsealed
    # Of a copy: what its node had in no part when it was taken.
    held = reader.snapshot() if not snapshot.last_batch and snapshot.lives else snapshot
    for batch in held.batches:
        if batch.id > until.get(batch.node, 0):
            yield batch


def _sealed(run_dir: Path, snapshot: Snapshot, node: int, done: int) -> Iterator[Batch]:
    """The node's batches after `done` that are in parts, points and entries of one together."""
    held = [part for part in snapshot.parts if part.node == node and part.last_batch > done]
    kinds = [_of_parts(run_dir, [part for part in held if part.kind == kind]) for kind in ("metrics", "records")]
    for id, same in itertools.groupby(heapq.merge(*kinds, key=_number), key=_number):
        if id > done:
            points, *others = same
            yield replace(points, entries=(*points.entries, *(entry for one in others for entry in one.entries)))


def _number(batch: Batch) -> int:
    return batch.id


def _of_parts(run_dir: Path, parts: Sequence[Part]) -> Iterator[Batch]:
    for part in sorted(parts, key=lambda one: one.first_batch):
        loaded = PartBatches.load(run_dir, (part.name,), part.node, {part.name: part.crc})
        for id in sorted({*loaded.bounds, *loaded.entries}):
            yield loaded.batch(id)
        del loaded  # before the next one is read
