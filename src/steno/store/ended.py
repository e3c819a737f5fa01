"""The ended runs below a directory as queries read them, kept in the user's cache directory."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import crc32c
import msgspec

from steno.ledger.listed import read_manifest
from steno.ledger.snapshot import Part
from steno.store import attempts as attempts_
from steno.store import cache, cards, stamps
from steno.store.index import Index
from steno.store.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from steno.store.runtables import About

FORMAT: Final = 1
_PARTS: Final = msgspec.msgpack.Decoder(list[Part])


class _Kept(msgspec.Struct, array_like=True, gc=False):
    stamps: list[tuple[str, int, int, int]]
    run: str
    hidden: list[tuple[int, int]]
    mark: bytes
    parts: bytes
    """As msgpack: nobody asks for those of a run whose points are kept too."""


class _List(msgspec.Struct):
    format: int
    place: str
    runs: dict[str, _Kept]
    """By the path below `place`."""


class Ended:
    """Sources of the ended runs below a directory, kept in the user's cache directory from one query to the next.

    Args:
        place: the directory; None: nothing is kept.
    """

    def __init__(self, place: str | None) -> None:
        self._place = "" if place is None else os.path.realpath(place)
        self._index = None if place is None else Index(Path(place))
        self._name = f"sources-{hashlib.sha256(os.fsencode(self._place)).hexdigest()[:32]}" if self._place else ""
        self._runs = self._load()
        self._is_changed = False

    def source(self, path: str, below: str) -> Source | None:
        """The run of that path, `below` the directory; None: it has not ended, or nobody knows."""
        kept = self._runs.get(below)
        if kept is None or not stamps.holds(path, kept.stamps):
            found = cards.look(Path(path))
            kept = None if found.stamps is None else _kept(path, found)
            if kept is not None:
                self._runs[below], self._is_changed = kept, True
            elif self._runs.pop(below, None) is not None:
                self._is_changed = True
        if kept is None:
            return None
        about = partial(cards.summarise, Path(path)) if self._index is None else partial(self._about, path, below)
        listed = partial(_PARTS.decode, kept.parts)
        return Source(kept.run, path, tuple(kept.hidden), about, listed, mark=kept.mark)

    def _about(self, path: str, below: str) -> About:
        assert self._index is not None
        return self._index.run(path, below).summary

    def keep(self, below: Iterable[str]) -> None:
        """Write down what is new; runs but these are forgotten."""
        if not self._place:
            return
        there = set(below)
        if self._runs.keys() - there:
            self._runs, self._is_changed = {name: one for name, one in self._runs.items() if name in there}, True
        if self._is_changed:
            data = msgspec.msgpack.encode(_List(FORMAT, self._place, self._runs))
            cache.put(self._name, crc32c.crc32c(data).to_bytes(4, "little") + data)
            self._is_changed = False

    def _load(self) -> dict[str, _Kept]:
        data = cache.get(self._name) if self._name else None
        if data is not None and crc32c.crc32c(memoryview(data)[4:]).to_bytes(4, "little") == data[:4]:
            try:
                found = msgspec.msgpack.decode(memoryview(data)[4:], type=_List)
            except (msgspec.DecodeError, RecursionError):
                return {}
            if (found.format, found.place) == (FORMAT, self._place):
                return found.runs
        return {}


def _kept(path: str, found: cards.ListedRun) -> _Kept | None:
    """What a run that has ended has, by its manifest; None where that does not say all."""
    manifest, _ = read_manifest(Path(path))
    attempts: Any = manifest.get("attempts")
    if not attempts or manifest.get("entries") or not all("rewind" in row for row in attempts):
        return None
    known = attempts_.read_attempts(Path(path), lambda: manifest, lambda: ())
    hidden = attempts_.choose(known, "latest").hidden
    parts = [Part(**row) for row in manifest.get("parts", ())]
    part_lines = "\n".join(f"{part.name} {part.bytes} {part.crc}" for part in parts if part.kind == "metrics")
    mark = hashlib.blake2b(f"{os.path.realpath(path)}\n{part_lines}".encode(errors="replace"), digest_size=16).digest()
    run = f"{found.summary.project}/{found.summary.name}"
    return _Kept(list(found.stamps or ()), run, list(hidden), mark, msgspec.msgpack.encode(parts))
