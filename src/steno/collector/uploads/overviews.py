"""The files of bins over many parts of this node, made for its store: a few of them cover a run of any length.

When FEW parts are in none of these files, one is made of them; two that are neighbours become one as soon as the later
one has as many parts as the earlier one. When the node has ended, one has all, if there are FEWEST_AT_END; of many
ranks one part is enough. Nothing is removed: what a larger file covers stays where it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from steno.errors import CorruptError
from steno.ledger import overview
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from steno.collector.uploads.location import Location
    from steno.ledger.snapshot import Part

FEW: Final = 8
FEWEST_AT_END: Final = 4

Span = tuple[int, int, int, int]
"""Ids of the first and the last part, the bytes of the file, and those of the file over ranks, 0 without one."""


class Overviews:
    """What this node has of them in one store. Not thread-safe.

    Args:
        run_dir: the run's directory.
        node: whose.
    """

    def __init__(self, run_dir: Path, node: int) -> None:
        self.cpu_secs = 0.0
        """Spent on making them."""
        self._run_dir, self._node = run_dir, node
        self._there: dict[tuple[int, int], dict[bool, int]] | None = None
        """By ids and by whether it is over ranks, the bytes of the files that are there."""
        self._unusable: set[tuple[int, int]] = set()

    def bring(self, location: Location, parts: Iterable[Part], *, ranks: int, ended: bool) -> list[Span]:
        """Those that cover the node's parts, as many as they can; a new one is made where it is time.

        Args:
            location: the run's place.
            parts: what the store has.
            ranks: so many are on this node.
            ended: whether no more parts will come.

        Raises whatever the store raises.
        """
        mine = sorted((part for part in parts if part.kind == "metrics" and part.node == self._node), key=_id)
        if self._there is None:
            self._there = {}
            for key in location.keys():
                span = overview.span_of(key)
                if span is not None and span[0] == node_name(self._node):
                    self._there.setdefault(span[2:], {})[span[1]] = location.size(key)
        cover = self._cover(mine)
        kinds = (True, False) if ranks >= overview.RANKS else (False,)
        fewest = 1 if True in kinds else FEWEST_AT_END
        wanted = self._wanted(mine, cover, fewest if ended else None)
        if wanted and (wanted[0].id, wanted[-1].id) not in self._unusable:
            began = time.process_time()
            # The one over ranks first: the other one says that both are there.
            for over_ranks in kinds:
                self._make(location, wanted, over_ranks=over_ranks)
            self.cpu_secs += time.process_time() - began
            cover = self._cover(mine)
        return cover

    def _cover(self, parts: Sequence[Part]) -> list[Span]:
        """From the first part on the longest file that begins there, and so on."""
        ends = {part.id for part in parts}
        longest: dict[int, int] = {}
        there = self._there or {}
        for first, last in there:
            if last in ends and False in there[first, last]:
                longest[first] = max(last, longest.get(first, last))
        cover: list[Span] = []
        for part in parts:
            if (not cover or part.id > cover[-1][1]) and part.id in longest:
                last = longest[part.id]
                sizes = there[part.id, last]
                cover.append((part.id, last, sizes[False], sizes.get(True, 0)))
        return cover

    @staticmethod
    def _wanted(parts: Sequence[Part], cover: Sequence[Span], at_end: int | None) -> Sequence[Part]:
        """The parts that a new file is to be over, if it is time for one; at the end so many are enough."""
        if at_end is not None:
            whole = len(cover) == 1 and (cover[0][0], cover[0][1]) == (parts[0].id, parts[-1].id)
            return () if whole or len(parts) < at_end else parts
        begin = 0 if not cover else next((at for at, part in enumerate(parts) if part.id > cover[-1][1]), len(parts))
        if len(parts) - begin < FEW:
            return ()
        for first, last, *_ in reversed(cover):
            before = sum(first <= part.id <= last for part in parts)
            if before > len(parts) - begin:
                break
            begin -= before
        return parts[begin:]

    def _make(self, location: Location, parts: Sequence[Part], *, over_ranks: bool) -> None:
        """Put the file over these parts there, made of those that are there and of the parts themselves."""
        pieces: list[overview.Named] = []
        try:
            done = -1
            for first, last, *_ in self._cover(parts):
                known = [part for part in parts if first <= part.id <= last]
                if over_ranks not in (self._there or {})[first, last]:
                    continue
                data = location.store.read(overview.file_of(known, over_ranks=over_ranks))
                if not overview.is_of(data, known, over_ranks=over_ranks):
                    continue
                between = [part for part in parts if done < part.id < first]
                pieces += [overview.of_part(self._run_dir, part, over_ranks=over_ranks) for part in between]
                pieces.append(overview.read(data, over_ranks=over_ranks))
                done = last
            rest = [part for part in parts if part.id > done]
            pieces += [overview.of_part(self._run_dir, part, over_ranks=over_ranks) for part in rest]
            data = overview.united(pieces, parts, over_ranks=over_ranks)
        except (CorruptError, ValueError, FileNotFoundError):
            data = b""  # a part that is damaged: readers read the parts one by one, and report it
        span = parts[0].id, parts[-1].id
        if not data:
            self._unusable.add(span)
            return
        location.store.write(overview.file_of(parts, over_ranks=over_ranks), data)
        assert self._there is not None
        self._there.setdefault(span, {})[over_ranks] = len(data)


def _id(part: Part) -> int:
    return part.id
