"""The charts of a view as a file has them: as fine as there is room for."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.viewer import answers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from steno.viewer.address import Address
    from steno.viewer.chart import Charts
    from steno.viewer.private import Private

_FINER: Final = (4096, 2048, 1024)
"""Bins for what is zoomed in the file, next to those that are shown at first."""
_MOST_ROWS: Final = 2_000_000
"""Bins of one chart, and of the charts that are computed together: each run is opened once for all of these."""
_MOST_AT_ONCE: Final = 16
_GUESSED: Final = 1.25
"""Bins that are guessed to need so many times the room are not computed to see that they do."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a key has."""

    key: str
    points: int
    runs: int

    def rows(self, width: int) -> int:
        """At most so many are in a chart of so many bins."""
        return min(self.points, width * self.runs)


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far it is."""

    done: int
    of: int
    """Charts; none before the runs have been read."""
    bins: int
    """Of each chart; the same charts are made with more bins where these find room."""


@dataclass(frozen=True, slots=True)
class FittedChart:
    """One chart at one fineness."""

    key: str
    width: int
    range: list[float] | None
    data: bytes
    """What `api/chart` answers for it, compressed."""
    whole: bool
    """Each of its lines has each of its points."""

    def head(self) -> dict[str, Any]:
        """What the file's index says of it."""
        said = {"key": self.key, "width": self.width, "range": self.range}
        return {**said, "whole": self.whole} if self.range is None else said


class Fitting:
    """Makes the charts.

    Args:
        charts: the resource that answers the page.
        wanted: the view.
        drawn: the runs that are drawn.
        ids, private: for each run the id that it has in the file, and what is taken out.
    """

    def __init__(
        self, charts: Charts, wanted: Address, drawn: Sequence[str], ids: Mapping[str, str], private: Private
    ) -> None:
        self._charts = charts
        self._ask = wanted.card()
        self._zoom = wanted.zoom
        self._drawn = [*drawn]
        self._ids = ids
        self._private = private

    def fit(
        self, sizes: Sequence[Size], width: int, room: int
    ) -> Generator[ExportProgress, None, tuple[list[FittedChart], list[str]]]:
        """(the charts, the keys that found no room); says after each few charts how far it is.

        Args:
            sizes: the keys, in the order in which they get room.
            width: bins of each chart.
            room: bytes for all of them.
        """
        shown: dict[str, list[FittedChart]] = {}
        for some in _batches(sizes, width):
            made = {one.key: [one] for one in self._levels(some, width, None)}
            if self._zoom:
                for one in self._levels([size for size in some if not made[size.key][0].whole], width, self._zoom):
                    made[one.key].append(one)
            for key, levels in made.items():
                room -= sum(len(one.data) for one in levels)
                if room < 0:
                    keys = [one.key for one in sizes]
                    return _all(shown.values()), keys[keys.index(key) :]
                shown[key] = levels
            yield ExportProgress(len(shown), len(sizes), width)
        coarse = [one for one in sizes if not shown[one.key][0].whole]
        for finer in _FINER:
            if finer <= width or finer * len(self._drawn) > _MOST_ROWS:
                continue
            if sum(_guess(one, shown[one.key][0], finer) for one in coarse) > _GUESSED * room:
                continue
            found = yield from self._finer(coarse, finer, room)
            if found is not None:
                return _all([*levels, *found.get(key, ())] for key, levels in shown.items()), []
        return _all(shown.values()), []

    def _finer(
        self, sizes: Sequence[Size], width: int, room: int
    ) -> Generator[ExportProgress, None, dict[str, list[FittedChart]] | None]:
        """The same charts with more bins, if all of them find room."""
        found: dict[str, list[FittedChart]] = {}
        for some in _batches(sizes, width):
            for one in self._levels(some, width, None):
                room -= len(one.data)
                found[one.key] = [one]
            if room < 0:
                return None
            yield ExportProgress(len(found), len(sizes), width)
        return found

    def _levels(self, sizes: Sequence[Size], width: int, span: list[float] | None) -> Iterator[FittedChart]:
        cards = [{"id": "c", "keys": [one.key], "width": width, "range": span, **self._ask} for one in sizes]
        if not cards:
            return
        for size, answer in zip(sizes, self._charts.one_by_one({"runs": self._drawn, "cards": cards}), strict=True):
            head, rest = _split(answer)
            (card,) = head["cards"]
            whole = all(one["kind"] == "points" for one in card.get("series", ()))
            data = joined({"cards": [_renamed(card, self._ids, self._private)]}, rest)
            yield FittedChart(size.key, width, span, gzip.compress(data, 6, mtime=0), whole)


def _batches(sizes: Sequence[Size], width: int) -> Iterator[list[Size]]:
    """The keys that are asked for together."""
    some: list[Size] = []
    rows = 0
    for one in sizes:
        rows += one.rows(width)
        if some and (rows > _MOST_ROWS or len(some) == _MOST_AT_ONCE):
            yield some
            some, rows = [], one.rows(width)
        some.append(one)
    if some:
        yield some


def _guess(size: Size, shown: FittedChart, finer: int) -> float:
    """About how many bytes a chart needs with more bins; a point needs fewer than a bin."""
    each = size.points / max(size.runs, 1)
    return len(shown.data) * (0.4 * each if each <= finer else 0.8 * finer) / shown.width


def _all(found: Iterable[Sequence[FittedChart]]) -> list[FittedChart]:
    return [one for levels in found for one in levels]


def _renamed(card: dict[str, Any], ids: Mapping[str, str], private: Private) -> dict[str, Any]:
    """A chart's header with the file's ids, and nothing that is private."""
    card = {name: private.text(one) if name in {"error", "remedy"} else one for name, one in card.items()}
    for one in card.get("series", ()):
        if one.get("run") is not None:
            one["run"] = ids.get(one["run"], "")
        if "runs" in one:
            one["runs"] = [ids.get(run, "") for run in one["runs"]]
        if "group" in one:
            one["group"] = [private.value("", value) for value in one["group"]]
    if "problems" in card:
        card["problems"] = [
            {"run": ids.get(one["run"], ""), "error": "it could not be read", "remedy": ""} for one in card["problems"]
        ]
    return card


def _split(answer: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack_from("<I", answer)
    return json.loads(answer[4 : 4 + size]), answer[4 + size :]


def joined(head: Any, rest: bytes) -> bytes:
    """uint32 length of the header, the header as JSON up to a multiple of 8 bytes, the rest."""
    text = answers.encoded(head)
    text += b" " * (-(4 + len(text)) % 8)
    return struct.pack("<I", len(text)) + text + rest
