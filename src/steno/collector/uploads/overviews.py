"""The files of bins over many parts of this node, made for its store: a few of them cover a run of any length.

When FEW parts are in none of these files, one is made of them; two that are neighbours become one as soon as the later
one has as many parts as the earlier one. When the node has ended, one has all. Nothing is removed: what a larger file
covers stays where it is.
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
_FEWEST_AT_END: Final = 4

Span = tuple[int, int, int]
"""Ids of the first and the last part, and the bytes of the file."""


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
        self._there: dict[tuple[int, int], int] | None = None
        self._unusable: set[tuple[int, int]] = set()

    def bring(self, location: Location, parts: Iterable[Part], *, ended: bool) -> list[Span]:
        """Those that cover the node's parts, as many as they can; a new one is made where it is time.

        Raises whatever the store raises.
        """
        mine = sorted((part for part in parts if part.kind == "metrics" and part.node == self._node), key=_id)
        if self._there is None:
            name = node_name(self._node)
            spans = {key: overview.span_of(key) for key in location.keys()}
            self._there = {
                (span[1], span[2]): location.size(key)
                for key, span in spans.items()
                if span is not None and span[0] == name
            }
        cover = self._cover(mine)
        wanted = self._wanted(mine, cover, ended=ended)
        if wanted and (wanted[0].id, wanted[-1].id) not in self._unusable:
            began = time.process_time()
            self._make(location, wanted)
            self.cpu_secs += time.process_time() - began
            cover = self._cover(mine)
        return cover

    def _cover(self, parts: Sequence[Part]) -> list[Span]:
        """From the first part on the longest file that begins there, and so on."""
        ends = {part.id for part in parts}
        longest: dict[int, int] = {}
        for first, last in self._there or {}:
            if last in ends:
                longest[first] = max(last, longest.get(first, last))
        cover: list[Span] = []
        for part in parts:
            if (not cover or part.id > cover[-1][1]) and part.id in longest:
                last = longest[part.id]
                cover.append((part.id, last, (self._there or {})[part.id, last]))
        return cover

    @staticmethod
    def _wanted(parts: Sequence[Part], cover: Sequence[Span], *, ended: bool) -> Sequence[Part]:
        """The parts that a new file is to be over, if it is time for one."""
        if ended:
            whole = len(cover) == 1 and (cover[0][0], cover[0][1]) == (parts[0].id, parts[-1].id)
            return () if whole or len(parts) < _FEWEST_AT_END else parts
        begin = 0 if not cover else next((at for at, part in enumerate(parts) if part.id > cover[-1][1]), len(parts))
        if len(parts) - begin < FEW:
            return ()
        for first, last, _ in reversed(cover):
            before = sum(first <= part.id <= last for part in parts)
            if before > len(parts) - begin:
                break
            begin -= before
        return parts[begin:]

    def _make(self, location: Location, parts: Sequence[Part]) -> None:
        """Put the file over these parts there, made of those that are there and of the parts themselves."""
        pieces: list[overview.Named] = []
        try:
            done = -1
            for first, last, _ in self._cover(parts):
                known = [part for part in parts if first <= part.id <= last]
                data = location.store.read(overview.file_of(known))
                if not overview.is_of(data, known):
                    continue
                pieces += [overview.of_part(self._run_dir, part) for part in parts if done < part.id < first]
                pieces.append(overview.read(data))
                done = last
            pieces += [overview.of_part(self._run_dir, part) for part in parts if part.id > done]
            data = overview.united(pieces, parts)
        except (CorruptError, ValueError, FileNotFoundError):
            data = b""  # a part that is damaged: readers read the parts one by one, and are told
        span = parts[0].id, parts[-1].id
        if not data:
            self._unusable.add(span)
            return
        location.store.write(overview.file_of(parts), data)
        assert self._there is not None
        self._there[span] = len(data)


def _id(part: Part) -> int:
    return part.id
