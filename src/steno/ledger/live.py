"""What of a node's records no part has yet, as its object in a store carries it, and as a reader's copy keeps it.

    base64(zlib(msgpack([[[id, key], ..], [[batch, blob], ..]])))       a blob as the ledger has it

One such text goes with one list of parts: together they are one moment of the node, without a gap.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import inside
from steno.errors import CorruptError
from steno.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from steno.record import Batch

PART_POINTS: Final = 1 << 16
"""Of a run that is kept in a store a part is sealed once it has so many."""
MOST_POINTS: Final = 2 * PART_POINTS
"""A text has no more: what is beyond waits until a part has the first ones."""
_MOST_BYTES: Final = 256 << 20
FOLDER: Final = "live"
"""In a reader's copy: the texts, each under a name that no other one ever has."""


def packed(keys: Sequence[tuple[int, str]], batches: Sequence[tuple[int, bytes]]) -> str:
    """The text; empty without batches."""
    if not batches:
        return ""
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode((keys, batches)), 1)).decode()


def unpacked(text: str | bytes, node: int) -> tuple[Batch, ...]:
    """The batches of a text.

    Raises:
        CorruptError: it is none.
    """
    try:
        unfolding = zlib.decompressobj()
        data = unfolding.decompress(base64.b64decode(text), _MOST_BYTES)
        if unfolding.unconsumed_tail:
            raise CorruptError("what a node has in no part yet unfolds into more than it may")
        keys, batches = msgspec.msgpack.decode(data, type=tuple[list[tuple[int, str]], list[tuple[int, bytes]]])
        names = dict(keys)
        return tuple(schema.named(schema.decode(blob), id, node, lambda _: names) for id, blob in batches)
    except (ValueError, TypeError, LookupError, zlib.error) as error:
        raise CorruptError(f"what a node has in no part yet cannot be read: {error}") from error


def read(run_dir: Path, listed: Mapping[str, Any]) -> tuple[Batch, ...]:
    """The batches of a reader's copy, by node the names of their texts.

    Raises:
        CorruptError: a text is none.
    """
    found: list[Batch] = []
    for node, name in listed.items():
        number = inside.node(node)
        if number is not None and isinstance(name, str):
            with contextlib.suppress(FileNotFoundError):  # a newer one is there for who reads again
                found += _kept(inside.path(run_dir, FOLDER, name), number)
    return tuple(found)


@functools.lru_cache(maxsize=128)
def _kept(path: Path, node: int) -> tuple[Batch, ...]:
    """A text is never another one under its name, and many readings of a run want the same."""
    return unpacked(inside.read(path), node)
