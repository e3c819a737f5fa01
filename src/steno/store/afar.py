"""The runs of an object store as this machine knows them: asked for now and then, shown while it is out of reach."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from steno.errors import RunNotFoundError, StenoError
from steno.objects import url as urls
from steno.secrecy import error_text
from steno.store import card_metrics, cards, together
from steno.store.cache import cache_dir
from steno.store.card_list import CardList
from steno.store.card_rows import placed, summarised
from steno.store.files_run import FilesRun
from steno.store.remote import Remote, copy_dir
from steno.store.run_summary import RunSummary
from steno.store.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from steno.ledger.store_card import StoreCard
    from steno.store.card_list import RunCards
    from steno.store.stock import Stored

_AT_ONCE: Final = 8
_OVER: Final = frozenset({"finished", "failed", "crashed"})


class Copy(Remote):
    """A run that is asked about by `renew` alone: whoever reads it meanwhile sees what was known then, and waits for
    nobody but for parts that are not here yet."""

    def refresh(self) -> None:
        """What the store has, at the beginning and after a part was gone; else nothing is asked."""
        if self._fresh_until == 0.0:
            super().refresh()

    @property
    def id(self) -> str:
        """The run's."""
        return self._id

    @property
    def is_final(self) -> bool:
        """Whether the run is over, and all is known that its nodes say."""
        return self._is_final

    def renew(self) -> None:
        """Ask the store. Raises what the store does."""
        with self._lock:
            self._edits_until = 0.0
            if not self._is_final:
                self._fresh_until = 0.0
        super().refresh()

    def have(self, name: str) -> None:
        """Have a small file of the run here, by its name below it. Raises FileNotFoundError."""
        if not (self.dir / name).exists():
            self._fetch(name, lambda _: "")


class Door:
    """Where one run is opened, once and when somebody wants it. Thread-safe."""

    def __init__(self, url: str, copy: Copy | None = None) -> None:
        self.url = url
        self.problem = ""
        """Why there was no news of it last."""
        self._lock = threading.Lock()
        self._copy = copy

    def __deepcopy__(self, _memo: Any) -> Door:
        return self

    def __reduce__(self) -> tuple[type[Door], tuple[str]]:
        return Door, (self.url,)

    def opened(self) -> Copy:
        """The run. Raises StenoError."""
        with self._lock:
            if self._copy is None:
                try:
                    self._copy = Copy(self.url)
                except StenoError:
                    raise
                except Exception as error:  # whatever the store's library raises
                    raise StenoError(f"{self.url} cannot be read: {error_text(error)}") from None
            return self._copy

    def tried(self) -> None:
        """Open it, if that can be done."""
        with contextlib.suppress(StenoError):
            self.opened()

    def known(self) -> Copy | None:
        """The run, if it is open."""
        return self._copy

    def renew(self) -> None:
        """Ask for news of a run that is open."""
        try:
            if self._copy is not None:
                self._copy.renew()
        except Exception as error:  # one damaged run costs no other
            self.problem = error_text(error)
        else:
            self.problem = ""


class AfarSummary(RunSummary):
    """A run of a list of a store. It is opened when its points are asked for."""

    door: Door | None = None
    """None: it cannot be read, and `problem` says why."""
    cards: tuple[StoreCard, ...] = ()
    """What its nodes say."""

    @classmethod
    def of(cls, facts: Mapping[str, Any], door: Door | None, cards: Iterable[StoreCard] = ()) -> AfarSummary:
        """One with these fields."""
        made = cls(**facts)
        made.__dict__.update(door=door, cards=tuple(cards))
        return made

    def opened(self) -> Copy:
        """The run itself.

        Raises:
            RunNotFoundError: it is not there, or cannot be read.
            StenoError: the store does not answer.
        """
        if self.door is None:
            raise RunNotFoundError(f"{self.url or self.name} cannot be read: {self.problem}")
        return self.door.opened()

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """As those of any run: what its cards say, else the run is opened and its points are fetched for them."""
        found = card_metrics.of_store(self.cards) if self.cards else None
        if found is not None:
            return found
        if self.door is None:
            return {}
        run = FilesRun(self.opened())
        try:
            return run.summary()
        finally:
            run.close()


class Afar:
    """The runs below a URL. Thread-safe; one thread at a time asks the store.

    A store whose runs have cards is asked for one listing, and for the cards that are new. In another one, as in one
    that was copied by hand, each run is looked at.

    Args:
        url: of the store, or of a prefix in it.

    Raises:
        UsageError: no URL that can be read.
    """

    def __init__(self, url: str) -> None:
        self.url = urls.check("store", url, writing=False).rstrip("/")
        self.problem = ""
        """Why it was not reached when it was asked last; empty: it was."""
        self.seen: float | None = None
        """When it was reached last, in seconds since 1970."""
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, AfarSummary]] = {}
        self._cards = CardList(self.url)
        self._doors: dict[str, Door] = {}

    def look(self) -> None:
        """Ask the store which runs it has, and for the news of each. Raises StenoError; what was known stays."""
        with self._lock:
            try:
                self._known = self._of_cards() if self._has_cards() else self._of_runs()
            except StenoError as error:
                self.problem = str(error)
                if not self._known:
                    self._cards.recall()
                    self._known, self.seen = self._of_cards(), self._cards.reached
                raise
            self.seen, self.problem = time.time(), ""

    def _has_cards(self) -> bool:
        try:
            return self._cards.look()
        except StenoError:
            raise
        except Exception as error:
            raise StenoError(f"{self.url} cannot be listed: {error_text(error)}") from None

    # -- by their cards ------------------------------------------------------------------------------------

    def _of_cards(self) -> dict[str, tuple[str, AfarSummary]]:
        groups = self._cards.groups()
        places = placed(groups)
        news = [self._doors[url] for url in self._doors.keys() & {self._url(place) for place in places}]
        together.each(Door.renew, [door for door in news if self._has_news(door)], _AT_ONCE)
        ages = self._cards.ages()
        found: dict[str, tuple[str, AfarSummary]] = {}
        for place, run in places.items():
            group = groups[run]
            below = place.removeprefix(f"{self._cards.project}/") if self._cards.project else place
            known = self._known.get(below)
            if run not in self._cards.changed and known is not None and known[1].state in _OVER:
                found[below] = known
            else:
                found[below] = "", self._row(place, run, group, ages)
        return found

    def _has_news(self, door: Door) -> bool:
        copy = door.known()
        return copy is not None and (not copy.is_final or any(run[1] == copy.id for run in self._cards.changed))

    def _url(self, place: str) -> str:
        return f"{self._cards.root}/{place}"

    def _row(self, place: str, run: tuple[str, str], group: RunCards, ages: Mapping[str, float]) -> AfarSummary:
        url = self._url(place)
        if not group.cards:
            nowhere = cache_dir() / "runs" / "none" / place
            return AfarSummary.of(_nothing(nowhere, *run, group.problem, ""), None)
        door = self._doors.setdefault(url, Door(url))
        copy = door.known()
        if copy is None and any(one.config is None or one.summary is None for one in group.cards):
            with contextlib.suppress(StenoError):  # they are too large for a card, and the rest is known
                copy = door.opened()
        if copy is not None and (not copy.is_final or any(one.config is None for one in group.cards)):
            facts = {**_facts(cards.summarise(copy.dir)), "url": url}
            return AfarSummary.of({**facts, "problem": facts["problem"] or group.problem or door.problem}, door)
        facts = summarised(copy_dir(url, run[1]), group, ages)
        return AfarSummary.of({**facts, "url": url}, door, group.cards)

    # -- one by one ----------------------------------------------------------------------------------------

    def _of_runs(self) -> dict[str, tuple[str, AfarSummary]]:
        found = list(Stock(self.url).runs())
        made = together.each(self._run, found, _AT_ONCE)
        return {one.place: (one.mark, run) for one, run in zip(found, made, strict=True)}

    def _run(self, one: Stored) -> AfarSummary:
        mark, known = self._known.get(one.place, ("", None))
        if known is not None and known.door is not None and known.state in _OVER and mark == one.mark:
            return known
        door = None if known is None else known.door
        try:
            if door is None or known is None or known.state in _OVER:
                door = Door(one.url, Copy(one.url))
            else:
                door.opened().renew()
            facts = _facts(cards.summarise(door.opened().dir))
        except Exception as error:  # one damaged run costs no other
            folder, _, name = one.place.rpartition("/")
            nowhere = cache_dir() / "runs" / "none" / one.place
            return AfarSummary.of(_nothing(nowhere, folder, name, error_text(error), one.url), door)
        return AfarSummary.of({**facts, "url": one.url}, door)

    def runs(self) -> dict[str, AfarSummary]:
        """What is known, by the path below the URL."""
        return {place: run for place, (_, run) in self._known.items()}


def _facts(found: RunSummary) -> dict[str, Any]:
    return {part.name: getattr(found, part.name) for part in fields(RunSummary)}


def _nothing(path: Path, project: str, name: str, problem: str, url: str) -> dict[str, Any]:
    counts = {"started": None, "records": 0, "points": 0, "attempts": 1}
    return {
        "path": path, "project": project, "name": name, "id": "", "state": "", **counts, "problem": problem, "url": url
    }  # fmt: skip


_shared: dict[tuple[int, str], Afar] = {}


def listed(url: str, *, archived: bool) -> tuple[list[RunSummary], str]:
    """(the runs below a URL as they are now, newest first; why they are those that were known last, or "").

    Raises:
        StenoError: the store cannot be listed, and nothing is known of it.
    """
    afar = _shared.setdefault((os.getpid(), url.rstrip("/")), Afar(url))
    try:
        afar.look()
    except StenoError as error:
        if not afar.runs() or afar.seen is None:
            raise
        return newest(afar, archived=archived), f"{error}; these are the runs of {_ago(time.time() - afar.seen)} ago"
    return newest(afar, archived=archived), ""


def below(url: str) -> list[AfarSummary]:
    """Every run below a URL that can be opened, open.

    Raises:
        StenoError: the store cannot be listed, and nothing is known of it.
    """
    found, _ = listed(url, archived=True)
    open_all(found)
    return [one for one in found if isinstance(one, AfarSummary) and one.door is not None]


def open_all(runs: Iterable[object]) -> None:
    """Open those of a list that are in a store, several in parallel; one that cannot be says so when it is asked."""
    shut = [one.door for one in runs if isinstance(one, AfarSummary) and one.door and one.door.known() is None]
    if len(shut) > 1:
        together.each(Door.tried, shut, _AT_ONCE)


def _ago(secs: float) -> str:
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if secs >= 2 * size:
            return f"{secs / size:.0f} {name}"
    return f"{max(secs, 0.0):.0f} s"


def newest(afar: Afar, *, archived: bool) -> list[RunSummary]:
    """The runs that are known, newest first."""
    found = [one for one in afar.runs().values() if archived or not one.archived]
    return sorted(found, key=lambda one: (-(one.started or 0), one.url))
