"""The rows of all keys of a node next to its card, as Parquet: where a card has no room for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from steno import bounds, files
from steno.errors import CorruptError
from steno.ledger import card, schema
from steno.ledger.arrow_columns import numbers, strings, to_arrow
from steno.ledger.totals import Totals, TotalsTable

if TYPE_CHECKING:
    from pathlib import Path


FORMAT: Final = 1
_FACTS: Final = b"steno"
"""Key of the footer: JSON of format, node, ledger, batch, hidden and reach, as in a card."""


def name_of(node: str) -> str:
    """The file's, by the name of the node."""
    return f"summary-{node}.parquet"


def write(run_dir: Path, node: str, ledger: str, batch: int, totals: Totals) -> None:
    """Put a table of all keys in the place of the one before. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(totals)
    odd = [""] * count
    for at, special in totals.rows.special.items():
        odd[at] = schema.json_text(card.value_of(special))
    columns: dict[str, Any] = {"key": strings(list(totals.ids))}
    for name in TotalsTable.COLUMNS:
        column = totals.rows[name][:count]
        columns[name] = to_arrow(column, pa.float64() if column.dtype.kind == "f" else pa.int64())
    columns["last_odd"] = strings(odd)
    facts = {
        "format": FORMAT,
        "node": node,
        "ledger": ledger,
        "batch": batch,
        "hidden": totals.hidden,
        "reach": totals.reach,
    }
    table = pa.table(columns).replace_schema_metadata({_FACTS: schema.json_text(facts).encode()})
    path = run_dir / name_of(node)
    with files.aside(path, path.with_name(f".{path.name}.tmp")) as hidden:
        pq.write_table(table, hidden, compression="zstd", write_page_checksum=True)


def read(run_dir: Path, head: card.CardHead) -> tuple[Totals, int]:
    """(the rows of all keys, the last batch that they cover) of the node that a card is of.

    Raises:
        CorruptError: there is none that goes with the card.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run_dir / name_of(head.node)
    try:
        bounds.parquet(path)
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=False) as file:
            table = file.read(use_threads=False)
        facts = json.loads((table.schema.metadata or {})[_FACTS])
        if (facts["format"], facts["node"], facts["ledger"]) != (FORMAT, head.node, head.ledger):
            raise ValueError("it is of another ledger")
        held = [(int(attempt), int(step)) for attempt, step in facts["hidden"]]
        if not card.hold_under(held, int(facts["reach"]), head.hidden):
            raise ValueError("it knows of other rewinds")
        totals = Totals(head.hidden)
        names = table["key"].to_pylist()
        rows = TotalsTable(len(names))
        rows.columns = {name: numbers(table[name]) for name in TotalsTable.COLUMNS}
        for at, odd in enumerate(table["last_odd"].to_pylist()):
            if odd:
                rows.special[at] = card.special_of(json.loads(odd))
        totals.add_rows(names, rows, int(facts["reach"]))
        return totals, int(facts["batch"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise CorruptError(f"{path} cannot be used: {error}") from None
