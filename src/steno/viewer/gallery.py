"""`api/media-index`: at which steps a key has media, and what the shown runs have at one of them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from steno import inside
from steno.errors import StenoError, UsageError
from steno.record import Ref
from steno.store import stamps
from steno.store.media import keys_of, standing
from steno.viewer import answers, asked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from steno.viewer.catalogue import Catalogue

_MOST_CARDS: Final = 64
_MOST_RUNS: Final = 1000
_MOST_STEPS: Final = 20_000
_MOST_ITEMS: Final = 500
_KEPT: Final = 64
_KEPT_ROWS: Final = 20_000
_SHARE: Final = 0.05
"""Of a core, for reading what a run that goes on has of one key; much of it is read less often."""
_CHEAP_SECS: Final = 0.05
_STORE_SECS: Final = 2.0
_IN_BINS: Final = frozenset({"counts", "edges"})
"""What a histogram's meta says of each bin: the heat map is asked for it."""


@dataclass(frozen=True, slots=True)
class ShownMedia:
    """One media value, or a text, where it stands in a run."""

    step: int
    time: int
    rank: int
    key: str
    value: Ref | str


@dataclass(frozen=True, slots=True)
class _Read:
    sign: object
    rows: tuple[ShownMedia, ...]
    until: float
    """So long it will do, although the run has changed since."""


class Gallery:
    """The media of runs. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Read] = {}

    async def index(self, request: Request) -> Response:
        """`api/media-index`: a batch of cards."""
        given = await asked.body(request)
        return answers.data(await run_in_threadpool(self._batch, given))

    def _batch(self, given: Mapping[str, Any]) -> dict[str, Any]:
        ids = asked.texts(given, "runs", _MOST_RUNS)
        cards = given.get("cards")
        if ids is None or not isinstance(cards, list) or not all(isinstance(one, dict) for one in cards):
            raise UsageError("runs and cards are needed: ids of runs, and objects, each with id and key")
        if len(cards) > _MOST_CARDS:
            raise asked.TooMuchError(
                f"{len(cards):,} cards are asked for, and at most {_MOST_CARDS} are answered in one request"
            )
        return {"cards": [self._card(card, ids) for card in cards]}

    def _card(self, card: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
        try:
            key = asked.text(card, "key")
            if key is None:
                raise UsageError("key is missing: say whose media")
            limit = asked.whole(card, "limit", _MOST_ITEMS, 1, _MOST_ITEMS)
            step = asked.number(card, "step")
            known = asked.yes(card, "steps_known")
        except StenoError as error:
            return {"id": card.get("id"), **answers.said(error)}
        steps: set[int] = set()
        items: list[dict[str, Any]] = []
        none: list[dict[str, Any]] = []
        problems: list[dict[str, str]] = []
        left_out, again = 0, False
        for run in ids:
            try:
                root = self._catalogue.path(run)
                all_, fresh = self.look(run, key)
                again |= not fresh
                mine = sorted({one.step for one in all_})
                if not mine:
                    continue
                steps.update(mine)
                place = bisect_right(mine, step) if step is not None else len(mine)
                if not place:
                    none.append({"run": run, "first": mine[0]})
                    continue
                at = [one for one in all_ if one.step == mine[place - 1]]
                room = max(0, limit - len(items))
                left_out += max(0, len(at) - room)
                items += [_item(root, run, one, elsewhere=self._elsewhere()) for one in at[:room]]
            except Exception as error:  # one damaged run costs its own media alone
                problems.append({"run": run, **answers.said(error)})
        found = sorted(steps)
        every = -(-len(found) // _MOST_STEPS)
        kept = found[::-every][::-1] if every > 1 else found
        return {
            "id": card.get("id"), "key": key,
            "steps": None if known else kept, "steps_left_out": len(found) - len(kept),
            "items": items, "left_out": left_out, "none_yet": none, "problems": problems, "again": again,
        }  # fmt: skip

    def of(self, run: str, key: str) -> tuple[ShownMedia, ...]:
        """What a run has of a key, or of the keys of a logged list, by step and place.

        Raises:
            StenoError: the run is not here, or damaged.
        """
        return self.look(run, key)[0]

    def look(self, run: str, key: str) -> tuple[tuple[ShownMedia, ...], bool]:
        """The same, and whether it is all that the run has by now. Raises as `of`."""
        sign: object = stamps.of_live(self._catalogue.path(run))
        if self._elsewhere():
            sign = sign, time.monotonic() // _STORE_SECS  # what came from a store meanwhile changes no file
        with self._lock:
            known = self._known.pop((run, key), None)
        began = time.monotonic()
        if known is None or (known.sign != sign and began >= known.until):
            before = time.thread_time()
            rows = self._read(run, key)
            cost = time.thread_time() - before
            known = _Read(sign, rows, began + cost / _SHARE if cost > _CHEAP_SECS else began)
        with self._lock:
            if len(known.rows) <= _KEPT_ROWS:
                self._known[run, key] = known
            while len(self._known) > _KEPT:
                self._known.pop(next(iter(self._known)))
        return known.rows, known.sign == sign

    def _elsewhere(self) -> bool:
        """Whether files of runs come here when they are asked for."""
        return self._catalogue.standing() is not None

    def _read(self, run: str, key: str) -> tuple[ShownMedia, ...]:
        reader = self._catalogue.reader(run)
        names = reader.keys()
        found: list[tuple[tuple[Any, ...], ShownMedia]] = []
        for name in keys_of(key, names):
            if name not in names:
                continue
            series = reader.series(name)
            place = inside.number(name.rpartition("/")[2]) or 0
            for row, value in series.special.items():
                if not isinstance(value, Ref | str):
                    continue
                step, rank = int(series.step[row]), int(series.rank[row])
                order = (step, rank, int(series.node[row]), int(series.record[row]), place, name)
                found.append((order, ShownMedia(step, int(series.time[row].astype("int64")), rank, name, value)))
        found.sort(key=lambda one: one[0])
        return tuple(shown for _, shown in found)


def _item(root: Path, run: str, one: ShownMedia, *, elsewhere: bool) -> dict[str, Any]:
    """What the page gets of one; a reference that is no good costs no other."""
    said = {"run": run, "key": one.key, "step": one.step, "time": answers.moment(one.time), "rank": one.rank}
    if isinstance(one.value, str):
        return {**said, "kind": "plain", "state": "inline", "file": None, "bytes": None, "caption": None,
                "meta": {"text": one.value}}  # fmt: skip
    try:
        return {**said, **_reference(root, one.value, elsewhere=elsewhere)}
    except Exception as error:
        return {**said, "kind": str(one.value.kind), "state": "damaged", "file": None, "bytes": None, "caption": None,
                "meta": {}, "error": answers.said(error)["error"]}  # fmt: skip


def _reference(root: Path, ref: Ref, *, elsewhere: bool) -> dict[str, Any]:
    state, size = standing(root, ref)
    if state == "gone" and elsewhere:
        state = "ready"  # `api/media` fetches it
    meta = {name: value for name, value in ref.meta.items() if name not in _IN_BINS}
    caption = meta.pop("caption", None)
    attached = meta.pop("attached", None)
    if isinstance(attached, dict):
        meta["attached"] = {
            str(name): _reference(root, Ref(one["digest"], one["kind"], one["meta"]), elsewhere=elsewhere)
            for name, one in attached.items()
        }
    return {
        "kind": ref.kind, "state": state, "file": ref.file if ref.digest else None, "bytes": size,
        "caption": caption if isinstance(caption, str) else None, "meta": meta,
    }  # fmt: skip
