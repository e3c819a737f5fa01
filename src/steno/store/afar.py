"""The runs of an object store as this machine knows them: asked for now and then, shown while it is out of reach."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from steno.errors import StenoError
from steno.objects import url as urls
from steno.secrecy import scrub
from steno.store import cards
from steno.store.cache import cache_dir
from steno.store.files_run import FilesRun
from steno.store.remote import Remote
from steno.store.run_summary import RunSummary
from steno.store.stock import Stock

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def renew(self) -> None:
        """Ask the store. Raises what the store does."""
        with self._lock:
            self._edits_until = 0.0
            if not self._settled:
                self._fresh_until = 0.0
        super().refresh()

    def have(self, name: str) -> None:
        """Have a small file of the run here, by its name below it. Raises FileNotFoundError."""
        if not (self.dir / name).exists():
            self._fetch(name, lambda _: "")


@dataclass(frozen=True)
class AfarSummary(RunSummary):
    """A run of a list of a store."""

    copy: Copy | None = field(default=None, repr=False, compare=False)
    """None: it cannot be read, and `problem` says why."""

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """As those of any run; the points of the run are fetched for them."""
        if self.copy is None:
            return {}
        run = FilesRun(self.copy)
        try:
            return run.summary()
        finally:
            run.close()


class Afar:
    """The runs below a URL. Thread-safe; one thread at a time asks the store.

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

    def look(self) -> None:
        """Ask the store which runs it has, and for the news of each. Raises StenoError; what was known stays."""
        with self._lock:
            try:
                found = list(Stock(self.url).runs())
                with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="steno-afar") as pool:
                    made = list(pool.map(self._run, found))
            except StenoError as error:
                self.problem = str(error)
                raise
            self._known = {one.place: (one.mark, run) for one, run in zip(found, made, strict=True)}
            self.seen, self.problem = time.time(), ""

    def _run(self, one: Stored) -> AfarSummary:
        mark, known = self._known.get(one.place, ("", None))
        if known is not None and known.copy is not None and known.state in _OVER and mark == one.mark:
            return known
        try:
            copy = None if known is None or known.state in _OVER else known.copy
            if copy is None:
                copy = Copy(one.url)
            else:
                copy.renew()
            found = cards.summarise(copy.dir)
        except Exception as error:  # one damaged run costs no other
            folder, _, name = one.place.rpartition("/")
            why = scrub(str(error)) if isinstance(error, StenoError) else scrub(f"{type(error).__name__}: {error}")
            nowhere = cache_dir() / "runs" / "none" / one.place
            return AfarSummary(
                nowhere, folder, name, "", "", None, 0, 0, 1, problem=why, url=one.url,
                copy=None if known is None else known.copy,
            )  # fmt: skip
        facts = {part.name: getattr(found, part.name) for part in fields(RunSummary)}
        return AfarSummary(**{**facts, "url": one.url}, copy=copy)

    def runs(self) -> dict[str, AfarSummary]:
        """What is known, by the path below the URL."""
        return {place: run for place, (_, run) in self._known.items()}


_shared: dict[tuple[int, str], Afar] = {}


def listed(url: str, *, archived: bool) -> list[RunSummary]:
    """The runs below a URL as they are now, newest first.

    Raises:
        StenoError: the store cannot be listed.
    """
    afar = _shared.setdefault((os.getpid(), url.rstrip("/")), Afar(url))
    afar.look()
    return newest(afar, archived=archived)


def newest(afar: Afar, *, archived: bool) -> list[RunSummary]:
    """The runs that are known, newest first."""
    found = [one for one in afar.runs().values() if archived or not one.archived]
    return sorted(found, key=lambda one: (-(one.started or 0), one.url))
