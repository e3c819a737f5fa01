"""The data all layers speak: batches of records, their points and entries."""

from __future__ import annotations

import re
import time as clock
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_DIGEST: Final = re.compile(r"[0-9a-f]{16,64}")
_EXT: Final = re.compile(r"[a-z0-9]{1,12}")
_NODE: Final = re.compile(r"[0-9a-f]{16}")
FORMAT: Final = 2
"""Of a run's ledgers, parts and manifests, and of what run.json says of them."""
OLD_NODES: Final = 1 << 18
"""A run of format 1 numbered its nodes from 0, and so many it could have."""

EXACT_FLOAT = 2**53
"""Integers up to this magnitude are exact in a float64; larger ones travel in `Batch.special` too."""

SOME = 1024
"""So many records are made of a batch's columns together."""

LAST_STEP = 2**62
"""A counter goes no further: beyond it, an explicit step would push automatic ones out of 64 bits."""


def node_name(node: int) -> str:
    """A node's id as it stands in names: 16 hexadecimal digits of its 64 bits."""
    return f"{node & (2**64 - 1):016x}"


def named_node(text: str) -> int | None:
    """The id that `node_name` has made a name of, as a signed integer; None: it is none.

    A run of format 1 has nodes `00`, `01` and so on.
    """
    if _NODE.fullmatch(text):
        return int.from_bytes(bytes.fromhex(text), "big", signed=True)
    if text.isascii() and text.isdecimal() and len(text) <= 6 and text == f"{int(text):02d}" and int(text) < OLD_NODES:
        return int(text)
    return None


def micros(time: int) -> int:
    """A time in ns since 1970, rounded down to whole microseconds: as parts keep it, and the ledger before them."""
    return time - time % 1000


def nearest(number: float) -> float:
    """The float64 nearest to a number, an integer of any size among them."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


# Kinds of entries: records that are not points.
START = "start"  # a process joined the run: {pid, host, primary, ...}
FINISH = "finish"  # a process left it: {state, error?, traceback?}
CONFIG = "config"  # {key: value} merged into the configuration
SUMMARY = "summary"  # {key: value} set by the user
EVENT = "event"  # {name, ...}
TASK = "task"  # one async_log task: {name, mode, submitted, started, ended, error?}
ARTIFACT = "artifact"  # what became of a file kept with the run: {op, id, name, ...}, see docs/artifacts.md
OUTPUT = "output"  # what the program printed: {stream, text, cut?, left_out?}
NOTE = "note"  # steno's own remark: a loss, a refused value, a recovery
MOVED = "moved"  # the last of a journal that another machine has adopted: its process goes on in another, {to}


LOGGED = "logged"
"""In the meta of a record for a destination that asked for it, its values as they were logged, by key.

One that a device still has is `decode.HOLE`; it comes in a record of the same number, with LATE in its meta.
"""
LATE = "late"
"""In the meta of a record for such a destination: it brings values of an earlier one."""

RAW = "raw"
"""In the meta of a `Ref` that is not posted yet, where its bytes are: {"data"}, or {"file", "at", "size"}."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A value kept in a file of the run: `digest` is its content address, `kind` its media kind.

    The digest is "" when the meta says it all (a histogram, a short text), or when it is not posted yet.
    """

    digest: str
    kind: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str | None:
        """The file's place under the run directory; None when there is none, or digest and extension are none."""
        ext = self.meta.get("ext", "bin")
        if not _DIGEST.fullmatch(self.digest) or not isinstance(ext, str) or not _EXT.fullmatch(ext):
            return None
        return f"media/{self.digest[:2]}/{self.digest}.{ext}"

    def __str__(self) -> str:
        if self.digest:
            return f"{self.kind}:{self.digest}"
        return str(self.meta.get("text", self.kind))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that is not a set of points."""

    record: int
    """Its number; with `node` it tells the entry from all others of the run, points' records included."""
    time: int
    """Nanoseconds since 1970, UTC, in whole microseconds."""
    step: int | None
    rank: int
    attempt: int
    kind: str
    payload: Mapping[str, Any]
    node: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One call's points, as `Batch.records` gives them: `values` in order of key.

    A value is a float, or an int beyond 2**53, a str, or a `Ref`. `node` and `record` tell it from all others.
    """

    record: int
    time: int
    step: int
    rank: int
    attempt: int
    values: dict[str, float | int | str | Ref]
    node: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A columnar group of records, immutable and self-contained; the unit of posting and delivery.

    `node` is the id of the ledger that numbers it, 64 random bits as a signed integer, 0 where there is none (a
    destination object's own batches). `id` and `record` count from 1 in each ledger, so (node, record) is a record's
    identity in the run. `time` is in ns since 1970, UTC, in whole microseconds.

    `n` records and `p` points. Record `i` has the keys `sets[set[i]]`; its values follow those of
    record `i - 1` in `value`. A record of a late value (a fill) repeats the number of the record it
    belongs to, so `record` need not rise. `special` holds, by point index, what a float64 cannot: an
    int beyond 2**53 (`value` is then its nearest float), a str or a `Ref` (`value` is then NaN).
    """

    id: int
    node: int
    record: NDArray[np.int64]
    time: NDArray[np.int64]
    step: NDArray[np.int64]
    rank: NDArray[np.int32]
    attempt: NDArray[np.int32]
    set: NDArray[np.int32]
    sets: tuple[tuple[str, ...], ...]
    value: NDArray[np.float64]
    special: Mapping[int, int | str | Ref] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    meta: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """By record index: what only some records carry, such as `{"level": 3}`."""

    def widths(self) -> NDArray[np.int64]:
        """Count the points of each record.

        Returns:
            Shape (n,).
        """
        import numpy as np

        lengths = np.fromiter((len(keys) for keys in self.sets), np.int64, len(self.sets))
        return lengths[self.set] if len(self.sets) else np.zeros(len(self.set), np.int64)

    def splits(self) -> NDArray[np.int64]:
        """Say where each record's points are.

        Returns:
            Shape (n + 1,): record `i` owns the points `splits[i]:splits[i + 1]`.
        """
        import numpy as np

        out = np.zeros(len(self.set) + 1, np.int64)
        np.cumsum(self.widths(), out=out[1:])
        return out

    def records(self) -> Iterator[Record]:
        """The records in order, each one's values sorted by key: the same however the batch was stored.

        Returns:
            An iterator; late values are records of their own.
        """
        splits, odd = self.splits(), self.special
        orders = [sorted(range(len(keys)), key=keys.__getitem__) for keys in self.sets]
        columns = (self.record, self.time, self.step, self.rank, self.attempt, self.set, splits[:-1])
        # Some at a time: as Python's numbers all would take many times the memory that they have in columns.
        for begin in range(0, len(self), SOME):
            some = slice(begin, begin + SOME)
            base, end = int(splits[begin]), int(splits[min(begin + SOME, len(self))])
            values: list[Any] = self.value[base:end].tolist()
            if odd:
                values = [odd.get(point, value) for point, value in enumerate(values, base)]
            rows = zip(*(column[some].tolist() for column in columns), strict=True)
            for record, time, step, rank, attempt, chosen, at in rows:
                keys, start = self.sets[chosen], at - base
                yield Record(
                    record, time, step, rank, attempt, {keys[i]: values[start + i] for i in orders[chosen]}, self.node
                )

    def __len__(self) -> int:
        return len(self.record)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a destination knows about the run when it is opened."""

    dir: Path
    id: str
    name: str
    project: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    notes: str = ""
    group: str | None = None
    node: int = 0
    """The id of the node whose records come; see `Batch`."""
    is_first: bool = True
    """Whether that is the run's first node, whose files have plain names: others have their node's in theirs."""
    layout: str = "run"
    """`run`, or `logdir` for a writers' logdir, whose event files lie in the directory itself."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the user gave this destination."""
    position: Mapping[str, Any] | None = None
    """The destination's own `position` as it was when its cursor was last saved; None at first."""

    @property
    def node_suffix(self) -> str:
        """What tells this node's names from the first one's: its id as `node_name` has it, "" on the first."""
        return "" if self.is_first else node_name(self.node)


@dataclass(frozen=True, slots=True)
class Unposted:
    """A journal that has more than ledgers have of it."""

    stream: str
    host: str
    """Where its writer runs, or ran."""
    records: int
    bytes: int
    time: int | None
    """Of the newest of these records, ns since 1970, by its writer's clock; None where the journal is out of reach."""
    is_reachable: bool = True
    """Whether this machine can read it; else nothing is known of it but that it is there."""
    problem: str = ""
    """Why nobody may read it: its pointer leads to what does not say that it is this run's."""

    @property
    def age_secs(self) -> float | None:
        """Of the newest of these records."""
        return None if self.time is None else max(clock.time() - self.time / 1e9, 0.0)

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if not self.is_reachable:
            return f"the journal {self.stream} lies on host {self.host}, and only that one can post it"
        age = "" if self.age_secs is None else f", the newest {_duration(self.age_secs)} old"
        return f"{self.records:,} records ({self.bytes:,} bytes) of host {self.host} are not posted{age}"


def _duration(secs: float) -> str:
    return f"{secs:.0f} s" if secs < 120 else f"{secs / 60:.0f} min" if secs < 7200 else f"{secs / 3600:.0f} h"
