"""The metrics of a run in a list: out of its card, where it has ended, else as its reader finds them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno.ledger import card
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steno.ledger.store_card import StoreCard


def metrics(run_dir: Path) -> Mapping[str, Mapping[str, Any]]:
    """By key what `RunReader.summary` says.

    Raises:
        RunNotFoundError: the run is gone.
    """
    cards = list(card.read(run_dir).values())
    if len(cards) == 1 and cards[0].ended and cards[0].nodes == 1 and cards[0].is_whole:
        return OfCard(cards[0].metrics)
    from steno.store.files_run import FilesRun

    run = FilesRun(run_dir)
    try:
        return run.summary()
    finally:
        run.close()


def of_store(cards: Sequence[StoreCard]) -> Mapping[str, Mapping[str, Any]] | None:
    """The same of a run in a store by its nodes' cards there; None: they do not say it.

    Raises:
        CorruptError: the rows of one are none.
    """
    hidden = {pair for one in cards for pair in one.rewinds}
    if not all(one.metrics is not None and card.hold_under(one.hidden, one.reach, hidden) for one in cards):
        return None
    if len(cards) == 1:
        return OfCard(cards[0].metrics or {})
    from steno.ledger.totals import Totals
    from steno.store.summary import as_rows

    totals = Totals(tuple(sorted(hidden)))
    for one in cards:
        card.add_to(totals, one.metrics or {}, one.reach)
    return as_rows(totals)


class OfCard(Mapping[str, Mapping[str, Any]]):
    """The rows of a card, each made when it is asked for: a list of runs asks for one of hundreds."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = {key: row for key, row in rows.items() if row[0]}

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        count, last, least, most = self._rows[key]
        value = card.special_of(last[0]) if isinstance(last[0], dict) else last[0]
        found = {"last": value, "count": count, "last_step": last[1], "last_rank": last[3]}
        for end, place in (("min", least), ("max", most)):
            found[end] = place[0] if place else None
            found[f"{end}_step"] = place[1] if place else None
            found[f"{end}_rank"] = place[3] if place else None
        return found

    def briefly(self) -> Iterator[tuple[str, Any, int]]:
        """(key, its last value, its count), without what else a row says."""
        for key, (count, last, _, _) in sorted(self._rows.items()):
            yield key, card.special_of(last[0]) if isinstance(last[0], dict) else last[0], count

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rows))

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of a run, in order; of each its kind and its points."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    """`number`, `text`, or the kind of the files."""
    counts: array[int]


def keys_of(metrics: Mapping[str, Mapping[str, Any]]) -> RunKeys:
    """The keys that a run's metrics are of."""
    if isinstance(metrics, OfCard):
        rows = list(metrics.briefly())
    else:
        rows = [(key, one.get("last"), int(one.get("count") or 0)) for key, one in sorted(metrics.items())]
    return RunKeys(
        tuple(key for key, _, _ in rows),
        tuple(_kind(last) for _, last, _ in rows),
        array("q", (count for _, _, count in rows)),
    )


def _kind(last: Any) -> str:
    if isinstance(last, Ref):
        return last.kind
    return "text" if isinstance(last, str) else "number"
