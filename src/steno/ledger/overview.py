"""The bins of neighbouring parts of a node as one file: who is far away reads it in place of a file for each part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from steno import inside
from steno.errors import CorruptError
from steno.ledger import bins_format, bins_rebuild
from steno.ledger.bins import MARKED, WIDEST, Bins, concat, none, unite
from steno.ledger.bins_name import name_of
from steno.ledger.bins_part import BIN_POINTS, RANKS_BIN_POINTS, trimmed
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Part

RANKS: Final = 8
"""A node with so many has bins over all of its ranks, too."""
_RANK_AT: Final = 40
"""In a file over ranks the number of a mark's record has its rank from this bit on."""
MOST_BINS: Final = 4096
"""Of a key; half as many at the least, where it has the points: enough for 2,000 points of it."""
_BETWEEN: Final = 512, 2048
"""Over ranks no key has more bins than the one and fewer than the other: its level 2 would be too wide for a chart of
500 bins, and level 1 would be up to four times as much as is wanted, of each of many nodes."""
_ALL_BINS: Final = 1 << 18
"""Of a level of a file."""
_NAME: Final = re.compile(r"metrics/([0-9a-f]{16})-(parts|ranks)-(\d{6,18})-(\d{6,18})\.bins")

Named = tuple[list[str], Bins]
"""Keys, and the bins whose `key` counts in them."""


def as_part(parts: Sequence[Part], *, over_ranks: bool = False) -> Part:
    """What stands for these parts, of one node and in order, as a part whose file of bins this is."""
    kind = "ranks" if over_ranks else "parts"
    first, last = parts[0], parts[-1]
    return replace(
        first,
        name=f"metrics/{node_name(first.node)}-{kind}-{first.id:06d}-{last.id:06d}.parquet",
        last_batch=last.last_batch,
        last=last.last,
        rows=sum(part.rows for part in parts),
        bytes=sum(part.bytes for part in parts),
        crc=" ".join([kind, *(part.crc or "" for part in parts)]),
    )


def file_of(parts: Sequence[Part], *, over_ranks: bool = False) -> str:
    """The file's name, from the run's directory."""
    return name_of(as_part(parts, over_ranks=over_ranks).name)


def is_of(data: bytes, parts: Sequence[Part], *, over_ranks: bool = False) -> bool:
    """Whether these are the bytes of the file over just these parts, as they were written."""
    whole = as_part(parts, over_ranks=over_ranks)
    return bins_format.is_valid(data, bins_format.identity(whole.bytes, whole.rows, whole.node, whole.crc))


def span_of(name: str) -> tuple[str, bool, int, int] | None:
    """(node's name, whether over ranks, id of the first part, of the last one) of such a file; None: it is none's."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found[1], found[2] == "ranks", int(found[3]), int(found[4]))


def folded(bins: Bins) -> Bins:
    """Bins of ranks as bins over ranks are: rank 0, and the rank as `node` of the marks, by which equal steps go."""
    rank = bins.rank.astype(np.int64)
    marks: dict[str, Any] = {name: replace(getattr(bins, name), node=rank) for name in MARKED}
    return replace(bins, rank=np.zeros(len(bins), np.int32), **marks)


def packed(bins: Bins) -> Bins:
    """Bins over ranks as a file has them, whose marks have no node of their own."""
    marks: dict[str, Any] = {}
    for name in MARKED:
        mark = getattr(bins, name)
        marks[name] = replace(mark, record=mark.node << _RANK_AT | mark.record)
    return replace(bins, **marks)


def unpacked(bins: Bins) -> Bins:
    """Again what `packed` was given."""
    marks: dict[str, Any] = {}
    for name in MARKED:
        mark = getattr(bins, name)
        marks[name] = replace(mark, node=mark.record >> _RANK_AT, record=mark.record & ((1 << _RANK_AT) - 1))
    return replace(bins, **marks)


def of_part(run_dir: Path, part: Part, *, over_ranks: bool = False) -> Named:
    """The bins of all keys of a part: those next to it, or out of its points where a key has none there.

    Raises:
        OSError, ValueError, CorruptError: the part cannot be read.
    """
    import pyarrow.parquet as pq

    path = inside.path(run_dir, part.name)
    if over_ranks:
        gathered = bins_rebuild.rebuilt(path, fewest=1, over_ranks=True)
        return gathered.names, gathered.gathered()
    try:
        head, fine, _ = bins_format.read_all(inside.read(path.with_name(name_of(path.name))))
        is_current = head.of == bins_format.identity(part.bytes, part.rows, part.node, part.crc)
        facts = json.loads((pq.read_metadata(path).metadata or {}).get(b"steno", b"{}"))
        if is_current and facts.get("names") == len(head):
            return [head.name(number).decode() for number in range(len(head))], fine
    except (OSError, CorruptError):
        pass
    found = bins_rebuild.rebuilt(path, fewest=1)
    return found.names, replace_node(found.gathered(), part.node)


def replace_node(bins: Bins, node: int) -> Bins:
    """The bins as those of a node."""
    marks: dict[str, Any] = {}
    for name in MARKED:
        mark = getattr(bins, name)
        marks[name] = replace(mark, node=np.full(len(mark.node), node))
    return replace(bins, **marks)


def read(data: bytes, *, over_ranks: bool = False) -> Named:
    """What a file has. Raises CorruptError."""
    head, fine, _ = bins_format.read_all(data)
    return [head.name(number).decode() for number in range(len(head))], unpacked(fine) if over_ranks else fine


def united(pieces: Iterable[Named], parts: Sequence[Part], *, over_ranks: bool = False) -> bytes:
    """The bytes of the file over these parts, out of the bins of all their keys; none where no key has many points."""
    held = list(pieces)
    names = sorted({name for some, _ in held for name in some}, key=str.encode)
    numbers = {name: number for number, name in enumerate(names)}
    renamed = []
    for some, bins in held:
        place = np.array([numbers[name] for name in some], np.int32)
        renamed.append(replace(bins, key=place[bins.key]))
    bins = concat([one for one in renamed if len(one)])
    totals = np.bincount(bins.key, bins.count, len(names)).astype(np.int64) if len(bins) else np.empty(0, np.int64)
    bin_points = RANKS_BIN_POINTS if over_ranks else BIN_POINTS
    fine = _few(trimmed(bins, totals, bin_points), over_ranks=over_ranks) if len(bins) else none()
    if not len(fine):
        return b""
    number, again = np.unique(fine.key, return_inverse=True)
    fine = replace(fine, key=again.astype(np.int32))
    whole = as_part(parts, over_ranks=over_ranks)
    of = bins_format.identity(whole.bytes, whole.rows, whole.node, whole.crc)
    levels = fine, unite(fine, bins_format.coarser(fine.width))
    if over_ranks:
        levels = packed(levels[0]), packed(levels[1])
    return bins_format.encoded(of, [names[at] for at in number.tolist()], levels)


def _few(bins: Bins, *, over_ranks: bool) -> Bins:
    """No key with too many bins."""
    most = min(MOST_BINS, _ALL_BINS // max(len(np.unique(bins.key)), 1))
    while True:
        count = np.bincount(bins.key)
        many = count > most
        if over_ranks:
            many |= (count > _BETWEEN[0]) & (count < _BETWEEN[1])
        crowded: Any = many[bins.key] & (bins.width < WIDEST)
        if not crowded.any():
            return bins
        bins = unite(bins, np.where(crowded, bins.width * 2, bins.width))
