"""A node's card: one small file in the run's directory that says what listings and summaries need of its records.

    card-NODE.json          {"format": 1, "node": .., .., "metrics": {KEY: [count, last, min, max]}, "crc": "1f2e3d4c"}
    summary-NODE.parquet    the rows of all keys, where there are more than the card holds (`ledger/card_table.py`)

It is derived, and never the truth: a reader adds the batches after the last one that it covers, and without a card
all is read from parts and ledger. A node's collector replaces it, and no one else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from steno import files, inside
from steno.errors import CorruptError
from steno.ledger import schema
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from steno.ledger.totals import Special, Totals

FORMAT: Final = 1
KEYS: Final = 256
LARGEST_BYTES: Final = 64 << 10
_METRICS_BYTES: Final = 32 << 10
_FACTS_BYTES: Final = 8 << 10
"""Of the configuration, and of what the user set: a larger one is read where it came from."""
NAME: Final = re.compile(r"card-([0-9a-f]+)\.json")
_TAIL: Final = len(',"crc":"00000000"}')


class RunIdentity(msgspec.Struct, omit_defaults=True):
    """Who the run is, as run.json has it."""

    id: str = ""
    project: str = ""
    name: str = ""
    group: str | None = None
    tags: list[str] = []
    notes: str = ""
    created: int | float | None = None


class Versioned(msgspec.Struct):
    """What says which format it has."""

    format: int


class CardHead(Versioned):
    """What a card says in addition to its rows. Times in ns since 1970, UTC; of this node's records alone."""

    node: str
    ledger: str
    """What tells the node's ledger from another one: of a lost one a card says nothing."""
    identity: RunIdentity
    config: dict[str, Any] | None
    """None: too large for a card."""
    summary: dict[str, Any] | None
    """What the user set; None: too large."""
    ended: bool
    """Nobody writes any more, and all is sealed."""
    nodes: int
    """How many the run had then."""
    attempt: int
    """The latest one that this node has records of."""
    primaries: list[str]
    """States of the first processes of that attempt, as `Stream.state`."""
    started: int | None
    last_time: int | None
    records: int
    points: int
    ranks: list[int]
    """The first thousand."""
    losses: dict[str, int]
    """By kind."""
    batch: int
    """The last one that `metrics` covers."""
    hidden: list[tuple[int, int]]
    """(attempt, step) of the rewinds that `metrics` leaves out."""
    reach: int
    """The highest step of any point: a rewind to a later one hides nothing."""
    keys: int
    """How many there are in all; `metrics` has all of them, or the table next to it has."""


class Card(CardHead):
    """What a card says."""

    metrics: dict[str, tuple[int, list[Any], list[Any], list[Any]]]
    """By key: count, last, min, max; a `[value, step, attempt, rank]`, of the last the record too. [] without a number.

    A value is a number; a last one that no float64 holds {"int": digits}, {"text": ..} or {"ref": {..}}.
    """

    @property
    def is_whole(self) -> bool:
        """Whether `metrics` has all keys."""
        return len(self.metrics) == self.keys


Kind = TypeVar("Kind", bound=Versioned)


def name_of(node: str) -> str:
    """The file's, by the name of the node."""
    return f"card-{node}.json"


def encode(card: dict[str, Any]) -> bytes:
    """The file of a card, given by its fields, `metrics` as `metrics_of` makes them."""
    import crc32c

    body = schema.json_text(card).encode()[:-1]
    return body + b',"crc":"%08x"}' % crc32c.crc32c(body)


def write(run_dir: Path, node: str, data: bytes, *, sync: bool = False) -> None:
    """Put a card, as `encode` gives it, in the place of the one before. Raises OSError."""
    path = run_dir / name_of(node)
    hidden = path.with_name(f".{path.name}.tmp")
    files.unlink(hidden, missing_ok=True)  # of a collector that was killed
    with files.aside(path, hidden):
        files.write_new(hidden, data, sync=sync)


def decode(data: bytes, kind: type[Kind]) -> Kind:
    """What a card's file says, with its rows (`Card`) or without (`CardHead`), or a card in a store.

    Raises:
        CorruptError: it is damaged, or none of this format.
    """
    import crc32c

    body, tail = data[:-_TAIL], data[-_TAIL:]
    try:
        if tail != b',"crc":"%08x"}' % crc32c.crc32c(body):
            raise ValueError("its checksum is wrong")
        try:
            found = msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError:  # NaN or an infinity is in it, which JSON has no form for
            found = msgspec.convert(json.loads(data), kind)
        if found.format != FORMAT:
            raise ValueError(f"it has format {found.format}")
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the card cannot be used: {error}") from None
    return found


def read(run_dir: Path) -> dict[str, Card]:
    """The run's cards that can be used, by the name of their node."""
    found: dict[str, Card] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(run_dir):
            match = NAME.fullmatch(name)
            if match:
                with contextlib.suppress(OSError, CorruptError):
                    card = decode(inside.read(run_dir / name, LARGEST_BYTES), Card)
                    if card.node == match[1]:
                        found[card.node] = card
    return found


# -- metrics ---------------------------------------------------------------------------------------------


def metrics_of(totals: Totals) -> dict[str, Any]:
    """The first keys of the totals that fit into a card, as `Card.metrics` has them."""
    columns = {name: totals.rows[name][: KEYS + 1].tolist() for name in totals.rows.COLUMNS}
    found: dict[str, Any] = {}
    room = _METRICS_BYTES
    for key, at in totals.ids.items():
        if at >= KEYS:
            break
        row = row_of(columns, at, totals.rows.special.get(at))
        room -= len(schema.json_text({key: row}))
        if room < 0:
            break
        found[key] = row
    return found


def row_of(columns: dict[str, list[Any]], at: int, special: Special | None) -> list[Any]:
    """One row of the totals' columns as a card has it."""
    last = columns["last"][at] if special is None else value_of(special)
    row: list[Any] = [
        columns["count"][at],
        [last, *(columns[f"last_{name}"][at] for name in ("step", "attempt", "rank", "record"))],
    ]
    for end in ("min", "max"):
        value = columns[end][at]
        row.append([value, *(columns[f"{end}_{name}"][at] for name in _PLACE)] if value == value else [])  # noqa: PLR0124 - NaN
    return row


_PLACE: Final = ("step", "attempt", "rank")


def add_to(totals: Totals, metrics: dict[str, tuple[Any, ...]], reach: int) -> None:
    """Add a card's rows to the totals of other points under the same rewinds.

    Raises:
        CorruptError: they are none.
    """
    from steno.ledger.totals import TotalsTable

    new = TotalsTable(len(metrics))
    try:
        for at, row in enumerate(metrics.values()):
            _set(new, at, row)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CorruptError(f"the rows of a card cannot be used: {error}") from None
    totals.add_rows(list(metrics), new, reach)


def _set(new: Any, at: int, row: tuple[Any, ...]) -> None:
    count, last, least, most = row
    columns = new.columns
    columns["count"][at] = count
    value, *place = last
    if isinstance(value, dict):
        new.special[at] = special_of(value)
        value = float(value["int"]) if "int" in value else float("nan")
    columns["last"][at] = value
    for name, number in zip(("step", "attempt", "rank", "record"), place, strict=True):
        columns[f"last_{name}"][at] = number
    for end, found in (("min", least), ("max", most)):
        if found:
            columns[end][at] = found[0]
            for name, number in zip(_PLACE, found[1:], strict=True):
                columns[f"{end}_{name}"][at] = number


def value_of(special: Special) -> dict[str, Any]:
    """A value that no float64 holds, as a card has it."""
    if isinstance(special, Ref):
        return {"ref": {"digest": special.digest, "kind": special.kind, "meta": dict(special.meta)}}
    return {"text": special} if isinstance(special, str) else {"int": str(special)}


def special_of(value: dict[str, Any]) -> Special:
    """What `value_of` made that of. Raises ValueError, TypeError or KeyError."""
    if "ref" in value:
        ref = value["ref"]
        return Ref(str(ref["digest"]), str(ref["kind"]), dict(ref.get("meta") or {}))
    return int(value["int"]) if "int" in value else str(value["text"])


def small(facts: dict[str, Any]) -> dict[str, Any] | None:
    """The facts, where a card has room for them."""
    return facts if len(schema.json_text(facts)) <= _FACTS_BYTES else None


def hold_under(held: Iterable[tuple[int, int]], reach: int, hidden: Iterable[tuple[int, int]]) -> bool:
    """Whether rows counted under the rewinds `held`, of points up to the step `reach`, are those under `hidden` too."""
    now, then = set(hidden), set(held)
    return then <= now and all(step > reach for _, step in now - then)
