"""The news of the runs, numbered, so that a client that comes back gets what it missed, or that nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KEPT: Final = 512
_KEYS: Final = 200
_NAMED: Final = 2000
"""More changed runs than these are reported as a changed list and a reset."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What is new of a run."""

    state: str | None
    """None: it is gone."""
    keys: frozenset[str] | None = None
    """Those that have new points; None: any may have."""
    step: int | None = None

    def then(self, later: Changed) -> Changed:
        """This and what came after it."""
        keys = None if self.keys is None or later.keys is None else self.keys | later.keys
        return Changed(later.state, keys, self.step if later.step is None else later.step)

    def as_data(self) -> dict[str, Any]:
        """As clients get it."""
        keys = None if self.keys is None or len(self.keys) > _KEYS else sorted(self.keys)
        return {"keys": keys, "step": self.step, "state": self.state}


@dataclass(slots=True)
class _Item:
    number: int
    listed: bool
    runs: dict[str, Changed] = field(default_factory=dict)


async def until(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the seconds are over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class NewsFeed:
    """What changed, by number. `add` may be called from any thread; the others from the loop that `bind` was given."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(4)
        """Another one in each process: the ids of one that is gone are unknown."""
        self._lock = threading.Lock()
        self._items: deque[_Item] = deque(maxlen=_KEPT)
        self._number = 0
        self._waiting: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake waiters in this loop."""
        self._loop = loop

    def add(self, listed: bool, runs: dict[str, Changed]) -> None:
        """Something changed."""
        with self._lock:
            self._number += 1
            self._items.append(_Item(self._number, listed, runs))
        self.wake()

    def _ring(self) -> None:
        for one in self._waiting:
            one.set()

    @property
    def last(self) -> str:
        """The id of the newest."""
        return f"{self._name}-{self._number}"

    def since(self, id: str, watched: frozenset[str]) -> tuple[str, dict[str, Any] | None]:
        """The newest id, and what a client that knows `id` has missed up to that.

        It is {"list", "runs"}, empty if nothing; None: nobody knows.
        """
        name, _, text = id.rpartition("-")
        is_ours = name == self._name and text.isascii() and text.isdecimal() and len(text) < 19
        with self._lock:
            last = self.last
            number = int(text) if is_ours else -1
            first = self._items[0].number if self._items else self._number + 1
            if number > self._number or number < first - 1 or number < 0:
                return last, None
            items = [one for one in self._items if one.number > number]
        return last, self._changes(items, watched)

    @staticmethod
    def _changes(items: Iterable[_Item], watched: frozenset[str]) -> dict[str, Any] | None:
        runs: dict[str, Changed] = {}
        for one in items:
            for run in one.runs.keys() & watched:
                runs[run] = runs[run].then(one.runs[run]) if run in runs else one.runs[run]
        if not any(one.listed for one in items) and not runs:
            return {}
        if len(runs) > _NAMED:
            return None
        return {"list": any(one.listed for one in items), "runs": {run: one.as_data() for run, one in runs.items()}}

    async def wait(self, seconds: float) -> None:
        """Until something is added or `wake` is called, or the seconds are over."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await until(event, seconds)
        finally:
            self._waiting.discard(event)

    def wake(self, *others: Callable[[], object]) -> None:
        """Let all that wait look around, and call these in their loop. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            for one in (*others, self._ring):
                self._loop.call_soon_threadsafe(one)
