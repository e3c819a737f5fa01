"""The parts that a run has: by its manifest, or as they lie in its directory."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from steno import inside
from steno.errors import CorruptError
from steno.ledger import format1, verify
from steno.ledger.snapshot import Loss, Part, Stream
from steno.record import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MANIFEST = "manifest.json"
_PART_NAME: Final = re.compile(r"(?:metrics|records)/(?:([0-9a-f]{16})|\d{2,6})-part-\d{6}\.parquet")
_PART_FIELDS: Final = tuple(one.name for one in dataclasses.fields(Part))


class _Manifest(msgspec.Struct):
    """What readers take of a manifest."""

    parts: list[Part] = []
    streams: list[Stream] = []
    losses: list[Loss] = []
    entries: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    state: str = ""
    written: int = 0
    live: dict[str, str] = {}


def read_manifest(run_dir: Path) -> tuple[dict[str, Any], str]:
    """(the manifest of a run that ended cleanly, else nothing; why one that is there cannot be used, or "")."""
    path = run_dir / MANIFEST
    try:
        found = inside.decoded(inside.read(path))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError, CorruptError) as error:
        return {}, f"{path} cannot be read: {error}"
    why = unusable(found)
    return ({}, f"{path} cannot be used: {why}") if why else (found, "")


def unusable(manifest: Any) -> str:
    """What is wrong with a manifest's content, or ""."""
    try:
        checked = msgspec.convert(manifest, _Manifest)
        for row in checked.entries:
            Entry(**row)
        for part in checked.parts:
            part_of(part.node, tuple(getattr(part, name) for name in _PART_FIELDS[1:]))
    except (ValueError, TypeError, CorruptError) as error:
        return str(error)
    return ""


def left_alone(run_dir: Path) -> list[int]:
    """The nodes that have parts in the run, and no directory."""
    names = {
        name[:16] for kind in ("metrics", "records") for name in _names(run_dir / kind) if is_part(f"{kind}/{name}")
    }
    there = set(_names(run_dir / ".steno" / "nodes"))
    found = (inside.node(name) for name in sorted(names - there))
    return [node for node in found if node is not None]


@contextlib.contextmanager
def _damaged(node: int | None) -> Iterator[None]:
    """Pass over a part that cannot be read, but for a collector one of which the disk cannot tell this moment.

    A part that a new ledger does not know is removed.
    """
    try:
        yield
    except OSError as error:
        if node is not None and error.errno not in {None, errno.ENOENT}:
            raise


def _names(place: Path) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def found_parts(run_dir: Path, node: int | None = None) -> Iterator[Part]:
    """The parts that lie in the run directory, as was noted when they were written, else as their footers say."""
    from steno.ledger.rebuild import part_facts

    noted: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in ("metrics", "records"):
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(run_dir / kind)):
                whole = f"{kind}/{name}"
                head, _, tail = name.partition("-part-")
                owner = inside.node(head)
                if owner is None or not is_part(whole) or node not in {None, owner}:
                    continue
                with contextlib.suppress(ValueError, KeyError, CorruptError), _damaged(node):
                    if head not in noted:
                        noted[head] = verify.noted(run_dir / ".steno" / "nodes" / head)
                    # Not by a footer that may be damaged where there is better.
                    facts = part_facts(inside.path(run_dir, whole), noted[head].get(whole))
                    yield part_of(owner, (int(tail[:6]), kind, whole, *facts.values()))


def is_part(name: object) -> bool:
    """Whether a part can be called so: its path from the run directory."""
    return isinstance(name, str) and _PART_NAME.fullmatch(name) is not None


def part_of(node: int, facts: Iterable[Any]) -> Part:
    """The part that a row of a ledger, or a file's facts, tell of.

    Raises:
        CorruptError: no part is like that.
    """
    try:
        part = msgspec.convert(dict(zip(_PART_FIELDS, (node, *facts), strict=True)), Part)
    except ValueError as error:
        raise CorruptError(f"a part is listed that is none: {error}") from error
    if not is_part(part.name) or part.kind != part.name.partition("/")[0]:
        raise CorruptError(f"a part is listed as {part.name!r}, kind {part.kind!r}: no part is called so")
    return numbered(part)


def numbered(part: Part) -> Part:
    """The part; one of format 1 as this format numbers its records."""
    found = _PART_NAME.fullmatch(part.name)
    if found is None or found[1]:
        return part
    return replace(part, first=format1.number(part.first), last=format1.number(part.last))
