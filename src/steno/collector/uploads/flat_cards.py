"""Puts this node's card next to those of all runs of a store: at first, now and then, and when the node has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from steno.collector.uploads.generations import parsed
from steno.ledger import card, store_card
from steno.record import node_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.collector.uploads.location import Location

_SHAPE: Final = ("path", "run", "ended", "streams", "world_size", "rewinds")
"""What a list should have at once when it changes."""


class FlatCards:
    """The cards of one run's nodes. Not thread-safe.

    A store that refuses them, as one with narrow rights may, is not asked again: lists lack the run then, and
    `denied` says so.

    Args:
        run_dir: the run's directory.
        live_secs: how often the node's object is replaced.
    """

    def __init__(self, run_dir: Path, live_secs: float) -> None:
        self.denied = ""
        self.every_secs = max(store_card.EVERY_SECS, 12 * live_secs)
        self._run_dir = run_dir
        self._put: dict[int, bytes] = {}
        self._next: dict[int, float] = {}
        self._shape: dict[int, tuple[Any, ...]] = {}

    def put(self, location: Location, piece: Mapping[str, Any]) -> None:
        """Put the card of a node that says this of itself, where it is time. Raises what the store raises."""
        if self.denied:
            return
        assert location.place is not None
        node, about, path = int(piece["node"]), parsed(location.about), location.place.path
        key = store_card.key(path.partition("/")[0], str(about.get("id") or ""), node)
        if key is None:
            return
        found = store_card.made(path, about, {**piece, "written": 1}, self.every_secs)
        shape = (*(repr(found[name]) for name in _SHAPE), found["records"] > 0)
        if shape == self._shape.get(node) and not found["ended"] and time.monotonic() < self._next[node]:
            return
        own = card.read(self._run_dir).get(node_name(node))
        if own is not None and own.ended == found["ended"]:  # else it will be that of these records in a moment
            found |= store_card.metrics_of(own)
        known = store_card.encode(found)
        if found["ended"] and self._put.get(node) == known:
            return
        try:
            location.root.write(key, store_card.encode({**found, "written": time.time_ns()}))
        except PermissionError as error:
            self.denied = f"{location.url}/{key} may not be written, so lists of the store lack this run: {error}"
            return
        self._put[node], self._shape[node], self._next[node] = known, shape, time.monotonic() + self.every_secs
