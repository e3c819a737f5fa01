"""What is known of a run at one moment, by its ledgers or its manifest: plain values, and how it stands by them."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - Cursor is checked by its annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.record import Batch, Entry


@dataclass(frozen=True, slots=True)
class Part:
    """An immutable Parquet file of the run; `name` is its path from the run directory."""

    node: int
    id: int
    kind: str
    """"metrics" or "records"."""
    name: str
    first_batch: int
    last_batch: int
    first: int
    last: int
    rows: int
    bytes: int
    crc: str | None = None
    """`verify.checksum` of the file as it was written; None where nothing says it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One process's journal, as far as it is posted. Times in ns since 1970."""

    node: int
    stream: str
    pid: int
    host: str
    boot: str
    rank: int
    attempt: int
    primary: bool
    state: str
    """live, finished, failed, or dead (gone without saying so); lost: the journal itself is gone.

    adopted: another node posts it from then on; moved: its process goes on in another journal.
    """
    started: int
    last_time: int
    last_seq: int
    records: int
    points: int
    lost_bytes: int
    unfilled: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a destination has got."""

    node: int
    destination: str
    batch: int
    record: int
    position: Mapping[str, Any] | None
    delivered: int
    skipped: int
    retries: int
    state: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Loss:
    """Something counted as lost or refused: what kind, of which key or stream, how often, why."""

    node: int
    kind: str
    name: str
    count: int
    reason: str
    bytes: int = 0
    """Of a damaged part: what is lost with its rows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view: a point is either in a part listed here or in a batch here, never in both.

    `entries` are those not sealed yet; sealed ones are in the parts of kind "records". `state` is judged
    by `run_state`. `unreadable` says, per node, why a ledger could not be read.
    """

    parts: tuple[Part, ...] = ()
    batches: tuple[Batch, ...] = ()
    entries: tuple[Entry, ...] = ()
    streams: tuple[Stream, ...] = ()
    cursors: tuple[Cursor, ...] = ()
    losses: tuple[Loss, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Config and summary united over nodes under "config" and "summary"; the rest per key, later nodes last."""
    last_batch: Mapping[int, int] = field(default_factory=dict)
    """By node: the number of the newest batch."""
    unreadable: Mapping[int, str] = field(default_factory=dict)
    ledgers: Mapping[int, str] = field(default_factory=dict)
    """By node: what tells its ledger from another one."""
    lives: tuple[str, ...] = ()
    """Of a copy: what tells these batches from those of another moment."""


def _judged(streams: Iterable[Stream]) -> list[Stream]:
    """Those that say how the run stands: a process that goes on in another journal is judged by that one."""
    rows = list(streams)
    others = {one.stream for one in rows if one.state != "adopted"}
    return [one for one in rows if one.state != "moved" and (one.state != "adopted" or one.stream not in others)]


LOST_LEDGER = "lost ledger"
"""Kind of the loss that stands for records of a ledger that is gone."""


def run_state(
    streams: Iterable[Stream],
    live: Iterable[str] | None = None,
    *,
    attempts: Iterable[int] = (),
    losses: Iterable[Loss] = (),
) -> str:
    """running, finished, failed or crashed, judged on the latest attempt; empty where nothing is known.

    Args:
        streams: the run's streams, of all nodes.
        live: names of streams whose writers are known to live now (`steno.ledger.streams.live`); None
            believes the ledgers, whose collector may have died with the run.
        attempts: the numbers of those that were started.
        losses: with a ledger, what it knew of the end of an attempt is lost, and nobody can say that it finished.
    """
    found = _judged(streams)
    unknown = set(attempts) - {one.attempt for one in found}
    if unknown and any(loss.kind == LOST_LEDGER for loss in losses):
        return "crashed"
    if not found:
        return "running" if live else ""
    alive = None if live is None else set(live)
    if alive or (alive is None and any(one.state == "live" for one in found)):
        return "running"
    latest = max((one.attempt for one in found), default=0)
    primaries = [one.state for one in found if one.attempt == latest and one.primary]
    if "failed" in primaries:
        return "failed"
    if any(state in {"dead", "lost", "live", "adopted"} for state in primaries):
        return "crashed"
    return "finished"


ELSEWHERE = "the ledger lies on "
"""Begins what is said of a ledger that only another machine can read; nothing is wrong with it."""
