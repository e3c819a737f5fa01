"""The cards of a store's runs as this machine knows them: one listing says which are new, and those are fetched."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from steno import edits, inside
from steno.errors import CorruptError
from steno.ledger import card, store_card
from steno.objects.store import ObjectStore
from steno.store import cache, together
from steno.store.news import LastNews

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from steno.ledger.store_card import StoreCard
    from steno.objects.store import Seen

_AT_ONCE: Final = 16
_FEW: Final = 16
"""So many cards of a project are fetched one by one before the rolled ones are asked for."""
_MOST_BYTES: Final = 512 << 20
"""Of the rolled cards of one project."""
_KEEP_SECS: Final = 60.0
_FORMAT: Final = 1


class _Kept(msgspec.Struct):
    format: int
    reached: float
    at: tuple[str, str]
    cards: dict[str, tuple[str, bytes]]
    """By key, (version, content)."""


@dataclass(slots=True)
class RunCards:
    """What is there of one run."""

    cards: list[StoreCard] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Of the cards."""
    edits: list[tuple[str, edits.Edit]] = field(default_factory=list)
    problem: str = ""
    """What is wrong with one of its cards."""


class CardList:
    """The cards below a URL. Not thread-safe.

    Args:
        url: of the store, or of a project in it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.reached: float | None = None
        """When the store was asked last, in seconds since 1970."""
        self.changed: set[tuple[str, str]] = set()
        """Since the look before: (project, run)."""
        self._at: tuple[str, str] | None = None
        """(URL of the store, project or ""), once that is known."""
        self._seen: Mapping[str, Seen] = {}
        self._held: dict[str, tuple[str, bytes]] = {}
        token = hashlib.sha256(url.encode(errors="replace")).hexdigest()[:32]
        self._name = f"cards-{token}"
        self._news = LastNews(cache.cache_dir() / f"news-{token}.json")
        self._groups: dict[tuple[str, str], RunCards] = {}
        self._keep_at = 0.0
        self._has_recalled = False

    @property
    def root(self) -> str:
        """The store's URL."""
        return self.url if self._at is None else self._at[0]

    @property
    def project(self) -> str:
        """The project that is asked about alone, where there is one."""
        return "" if self._at is None else self._at[1]

    def recall(self) -> None:
        """Have what was known when the store was asked last, by whatever process of this user."""
        if self._has_recalled:
            return
        self._has_recalled = True
        data = cache.get(self._name)
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            found = None if data is None else msgspec.msgpack.decode(data, type=_Kept)
            if found is not None and found.format == _FORMAT:
                self.reached, self._at, self._held = found.reached, found.at, found.cards
                self._regroup(found.cards)

    def look(self) -> bool:
        """Ask the store; whether it has cards. Raises what the store raises."""
        self.recall()
        at, seen = self._listed()
        if at is None:
            return False
        store = ObjectStore(at[0], patient=True)
        wanted = {key for key, one in seen.items() if _named(key) and self._held.get(key, ("",))[0] != one.version}
        new = self._rolled(store, seen, wanted)
        new |= self._fetched(store, seen, wanted - new.keys())
        gone = self._held.keys() - seen.keys()
        self._held = {key: one for key, one in self._held.items() if key in seen} | new
        self._seen, self._at, self.reached = seen, at, time.time()
        self._regroup({*new, *gone})
        if (new or gone) and time.monotonic() >= self._keep_at:
            self._keep_at = time.monotonic() + _KEEP_SECS
            cache.put(self._name, msgspec.msgpack.encode(_Kept(_FORMAT, self.reached, at, self._held)))
        return True

    def _listed(self) -> tuple[tuple[str, str] | None, dict[str, Seen]]:
        """(where the cards are, or None; what lies there)."""
        above, _, project = self.url.rpartition("/")
        for at in [self._at] if self._at else [(self.url, ""), *([(above, project)] if "://" in above[:-1] else ())]:
            below = f"{store_card.FOLDER}/{at[1]}".rstrip("/")
            seen = ObjectStore(at[0], patient=True).seen(below)
            found = {key: one for key, one in seen.items() if _named(key)}
            if any(".edit-" not in key for key in found):
                rolled = {key: one for key, one in seen.items() if key.endswith(f"/{store_card.ROLLED}")}
                return at, found | rolled
        return None, {}

    def _rolled(self, store: ObjectStore, seen: Mapping[str, Seen], wanted: set[str]) -> dict[str, tuple[str, bytes]]:
        """Of the wanted ones, those that somebody has rolled up as they are now."""
        projects: dict[str, int] = {}
        for key in wanted:
            projects[key.rpartition("/")[0]] = projects.get(key.rpartition("/")[0], 0) + 1
        found: dict[str, tuple[str, bytes]] = {}
        for folder, count in projects.items():
            name = f"{folder}/{store_card.ROLLED}"
            if name in seen and count > _FEW:
                with contextlib.suppress(FileNotFoundError):
                    for key, version, data in unrolled(store.read(name)):
                        if key in wanted and seen[key].version == version:
                            found[key] = version, data
        return found

    @staticmethod
    def _fetched(store: ObjectStore, seen: Mapping[str, Seen], wanted: Iterable[str]) -> dict[str, tuple[str, bytes]]:
        def read(key: str) -> tuple[str, tuple[str, bytes]] | None:
            try:
                data = store.read(key) if seen[key].size <= 4 * card.LARGEST_BYTES else b""
            except FileNotFoundError:  # removed meanwhile
                return None
            return key, (seen[key].version, data)

        keys = sorted(wanted)
        return dict(one for one in together.each(read, keys, _AT_ONCE) if one is not None)

    def _regroup(self, keys: Iterable[str]) -> None:
        self.changed = {(name[0], name[1]) for key in keys if (name := _named(key)) is not None}
        by_run: dict[tuple[str, str], list[str]] = {}
        for key in self._held if self.changed else ():
            name = _named(key)
            if name is not None and (name[0], name[1]) in self.changed:
                by_run.setdefault((name[0], name[1]), []).append(key)
        for run in self.changed:
            if run in by_run:
                self._groups[run] = self._group(sorted(by_run[run]))
            else:
                self._groups.pop(run, None)

    def _group(self, keys: list[str]) -> RunCards:
        found = RunCards()
        for key in keys:
            name, data = _named(key), self._held[key][1]
            if name is not None and name[2]:
                edit = edits.of_line(data.split(b"\n", 1)[0])
                if edit is not None:
                    found.edits.append((key, edit))
                continue
            try:
                one = store_card.decode(data)
                if name is None or inside.relative(one.path).split("/")[0] != name[0] or "/" not in one.path:
                    raise CorruptError("the card is another project's")
            except CorruptError as error:
                found.problem = f"{self.root}/{key}: {error}; `steno publish {self.root} --cards` makes it again"
                continue
            found.cards.append(one)
            found.keys.append(key)
        return found

    def groups(self) -> dict[tuple[str, str], RunCards]:
        """What is known of each run, by (project, id); of those that edits alone are left of, nothing."""
        return {run: one for run, one in self._groups.items() if one.cards or one.problem}

    def ages(self) -> dict[str, float]:
        """By key of a card of a node that has not ended, for how many seconds at least it has given no news."""
        going = {
            key: self._seen[key]
            for group in self._groups.values()
            for key, one in zip(group.keys, group.cards, strict=True)
            if not one.ended and key in self._seen
        }
        return self._news.ages(going)

    def held(self) -> dict[str, tuple[str, bytes]]:
        """(version, content) of all, by key."""
        return self._held


def _named(key: str) -> tuple[str, str, bool] | None:
    return store_card.parted(key.removeprefix(f"{store_card.FOLDER}/"))


def rolled(held: Mapping[str, tuple[str, bytes]]) -> bytes:
    """The cards of a project as one object, the same for the same cards."""
    lines = [json.dumps([key, version, data.decode(errors="replace")]) for key, (version, data) in sorted(held.items())]
    return gzip.compress("\n".join(lines).encode(), 6, mtime=0)


def unrolled(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    """(key, version, content) of those that `rolled` has put together; none of what is damaged."""
    with contextlib.suppress(OSError, EOFError, ValueError, RecursionError):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(_MOST_BYTES + 1)
        for line in text.split(b"\n") if len(text) <= _MOST_BYTES else ():
            match json.loads(line):
                case [str(key), str(version), str(content)]:
                    yield key, version, content.encode()
