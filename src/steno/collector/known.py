"""How far a node's ledger had come, by what lies next to it: a ledger that begins below that has lost something."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside, statusfile
from steno.artifacts.index import NAME
from steno.destinations.file import name_on_node
from steno.errors import CorruptError
from steno.ledger import verify
from steno.ledger.listed import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from steno.collector.catalogue import Node

_TAIL_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class KnownNumbers:
    """The highest numbers that something next to the ledger knows, and what that is."""

    record: int = 0
    batch: int = 0
    step: int = 0
    """Automatic steps of the run that were counted."""
    by: str = ""
    """The file that knows the highest record."""


def known(run_dir: Path, node: Node) -> KnownNumbers:
    """What the status, the parts, the index of artifacts and the destinations' files know of this node's records."""
    status = statusfile.read(node.dir)
    destinations = list((status.get("destinations") or {}).values())
    said = [
        (_count(status, "record"), statusfile.FILE),
        *((max(_count(one, "record"), _count(one, "delivered")), statusfile.FILE) for one in destinations),
        *(_in_parts(node.dir)),
        *(_in_files(run_dir, node)),
    ]
    record, by = max(said, key=lambda pair: pair[0])
    batches = [facts["last_batch"] for facts in _parts(node.dir)]
    return KnownNumbers(
        record=record,
        batch=max(_count(status, "batch"), *(_count(one, "batch") for one in destinations), *batches, 0),
        step=_count(status.get("counters") or {}, "run"),
        by=by,
    )


def _count(facts: dict[str, Any], name: str) -> int:
    return int(facts.get(name) or 0)


def _parts(node_dir: Path) -> Iterator[dict[str, Any]]:
    listed = files.read_json(node_dir / MANIFEST).get("parts")
    for facts in (*verify.noted(node_dir).values(), *(listed if isinstance(listed, list) else ())):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            yield {"last": int(facts["last"]), "last_batch": int(facts["last_batch"]), "name": str(facts["name"])}


def _in_parts(node_dir: Path) -> Iterator[tuple[int, str]]:
    return ((facts["last"], facts["name"]) for facts in _parts(node_dir))


def _in_files(run_dir: Path, node: Node) -> Iterator[tuple[int, str]]:
    """The records that the lines of files name: of csv and jsonl, and of the index of artifacts."""
    places = [node.dir / NAME, run_dir / name_on_node("metrics.jsonl", node.node_suffix)]
    with contextlib.suppress(OSError):
        stems = ("metrics", "metrics-long")
        mine = tuple(name_on_node(f"{stem}.csv", node.node_suffix).removesuffix(".csv") for stem in stems)
        places += [
            run_dir / name
            for name in os.listdir(run_dir)
            if name.endswith(".csv") and name.startswith(mine) and ("-node-" in name) == bool(node.node_suffix)
        ]
    for path in places:
        yield from ((number, path.name) for number in _numbers(_last_lines(path), csv=path.suffix == ".csv"))


def _numbers(lines: Iterable[bytes], *, csv: bool) -> Iterator[int]:
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            yield int(line.partition(b",")[0]) if csv else int(json.loads(line)["record"])


def _last_lines(path: Path) -> list[bytes]:
    try:
        with open(inside.opened(path), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            lines = file.read().split(b"\n")
    except (OSError, CorruptError):
        return []
    return lines[:-1]  # behind the last line end is a line that is being written
