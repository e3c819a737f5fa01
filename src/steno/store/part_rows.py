"""The points of some keys out of one part, by the row groups and columns that hold them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno.errors import CorruptError
from steno.ledger.arrow_columns import to_arrow, to_numpy
from steno.store.image import DiffersError, PartImage
from steno.store.points import of_arrow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from steno.ledger.snapshot import Part
    from steno.store.attempts import Choice
    from steno.store.engine import Engine
    from steno.store.points import Points

POINT_COLUMNS: Final = ("record", "step", "time", "rank", "attempt", "value", "exact", "text", "ref")


@dataclass(frozen=True, slots=True, eq=False)
class KeyRows:
    """Rows of some keys, each key's one after the other."""

    table: pa.Table
    same: Mapping[str, int]
    """Columns that have one value in all rows, and are not in the table."""
    spans: dict[int, list[slice]]
    """By position in the keys, where its rows are, in the order of the part."""


def read(
    image: PartImage, keys: Sequence[str], columns: Sequence[str], steps: tuple[int | None, int | None] = (None, None)
) -> KeyRows | None:
    """The rows of the keys; None: there are none.

    Args:
        image: of the part.
        keys: which.
        columns: which.
        steps: row groups without a step from the first to the last one are passed over, and most rows of others.

    Raises:
        As `PartImage.table`.
    """
    wanted: dict[int, int] = {}
    for number, key in enumerate(keys):
        for at, is_mixed in image.groups_of(key):
            wanted[at] = -1 if is_mixed or at in wanted else number
    groups = sorted(at for at in wanted if image.has_steps(at, *steps))
    if not groups:
        return None
    is_mixed = any(wanted[at] < 0 for at in groups)
    table, same = image.table(groups, [*columns, "key"] if is_mixed else columns)
    if is_mixed:
        return _sorted_out(table, same, keys)
    spans: dict[int, list[slice]] = {}
    begin = 0
    for at in groups:
        end = begin + image.footer.row_group(at).num_rows
        spans.setdefault(wanted[at], []).append(slice(begin, end))
        begin = end
    found = KeyRows(table, same, spans)
    return found if steps == (None, None) else _within(found, *steps)


def _within(found: KeyRows, first: int | None, last: int | None) -> KeyRows | None:
    """Without the rows before the first and behind the last step, where a row group has its steps in order."""
    import numpy as np
    import pyarrow as pa

    step = to_numpy(found.table["step"], "int64")
    pieces: list[pa.Table] = []
    spans: dict[int, list[slice]] = {}
    count = 0
    for number, every in found.spans.items():
        for span in every:
            some, begin, end = step[span], 0, span.stop - span.start
            if (some[1:] >= some[:-1]).all():
                begin = 0 if first is None else int(np.searchsorted(some, first, "left"))
                end = end if last is None else int(np.searchsorted(some, last, "right"))
            if begin < end:
                pieces.append(found.table.slice(span.start + begin, end - begin))
                spans.setdefault(number, []).append(slice(count, count + end - begin))
                count += end - begin
    return KeyRows(pa.concat_tables(pieces), found.same, spans) if pieces else None


def _sorted_out(table: pa.Table, same: Mapping[str, int], keys: Sequence[str]) -> KeyRows | None:
    """Only the rows of the keys, out of row groups that have others too."""
    import numpy as np
    import pyarrow as pa

    spans = _spans_of(table["key"], keys)
    if not spans:
        return None
    # What is taken is a copy: kept rows would hold the columns of all keys otherwise.
    rows = [np.arange(begin, end) for found in spans.values() for begin, end in found]
    table = table.drop_columns(["key"]).take(to_arrow(np.concatenate(rows), pa.int64()))
    edges = np.cumsum([0, *(sum(end - begin for begin, end in found) for found in spans.values())]).tolist()
    return KeyRows(table, same, {at: [slice(*edge)] for at, edge in zip(spans, itertools.pairwise(edges), strict=True)})


def _spans_of(names: pa.ChunkedArray, keys: Sequence[str]) -> dict[int, list[tuple[int, int]]]:
    """By position in the keys the stretches of rows that have them; a part is sorted by key, so they are few."""
    import numpy as np
    import pyarrow as pa

    coded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    numbers = {key: at for at, key in enumerate(keys)}
    spans: dict[int, list[tuple[int, int]]] = {}
    start = 0
    for chunk in coded.chunks:
        codes = to_numpy(pa.chunked_array([chunk.indices]), f"int{chunk.indices.type.bit_width}")
        begins = np.flatnonzero(np.diff(codes, prepend=-1))
        known = [numbers.get(name, -1) for name in chunk.dictionary.to_pylist()]
        number = np.array([*known, -1])[codes[begins]]
        ends = np.append(begins[1:], len(codes))
        for at in np.flatnonzero(number >= 0).tolist():
            spans.setdefault(int(number[at]), []).append((start + int(begins[at]), start + int(ends[at])))
        start += len(chunk)
    return dict(sorted(spans.items()))


def points(
    engine: Engine, run_dir: Path, part: Part, keys: Sequence[str], choice: Choice, columns: Sequence[str]
) -> dict[int, Points] | None:
    """By position in the keys the chosen points that a part has of it; None: it is to be read by its `files`.

    Raises:
        PartGone: it is no longer there.
    """
    import pyarrow as pa

    image = engine.image(run_dir, part)
    if image is None:
        return None
    with image:
        try:
            found = read(image, keys, columns, (choice.first, choice.last))
            return {} if found is None else _points(found, choice, part.node)
        except (DiffersError, CorruptError, pa.ArrowException, OSError, ValueError, KeyError):
            return None


def _points(found: KeyRows, choice: Choice, node: int) -> dict[int, Points]:
    import numpy as np

    every = of_arrow(found.table, same={**found.same, "node": node})
    mask = choice.mask(every)
    out = {}
    for number, spans in found.spans.items():
        if len(found.spans) == 1 and mask is None:
            return {number: every}
        rows: Any = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        out[number] = every.take(rows if mask is None else rows[mask[rows]])
    return out
