"""One run of a list, from as little as tells it: its run.json and its cards, where it has ended."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import edits, inside, machinery, runfile
from steno.errors import CorruptError
from steno.ledger import card
from steno.ledger.listed import MANIFEST, read_manifest
from steno.ledger.read import Reader
from steno.ledger.snapshot import LOST_LEDGER
from steno.store.info import state_of
from steno.store.run_summary import RunSummary
from steno.store.runs import identity
from steno.store.stamps import YOUNG_NANOS, Stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run, and the files that say so: as long as none of them has changed, it is as it was."""

    summary: RunSummary
    stamps: tuple[Stamp, ...] | None
    """None: it may change without that any of a few files does."""


def are_lacking(path: Path) -> bool:
    """Whether a node of a run that has put its machinery away has no card that is intact and its own."""
    held = machinery.packed(path)
    nodes = {below.split("/")[1] for below in held if below.startswith("nodes/") and below.count("/") > 1}
    found = card.read(path)
    return any(
        node not in found or found[node].ledger not in held.get(f"nodes/{node}/{machinery.LEDGER}", "")
        for node in nodes
    )


def summarise(path: Path) -> RunSummary:
    """One run's line; a ledger that cannot be read leaves the counts at what is known."""
    return look(path).summary


def look(path: Path) -> ListedRun:
    """One run's line, and what to look at to know whether it still holds."""
    began = time.time_ns()
    watched: list[Stamp] = []
    try:
        names = frozenset(os.listdir(path))
        _watch(path, "", watched)
    except OSError:
        names = frozenset()
    run, wrong = _run_json(path, watched)
    found = _of_cards(path, names, run, wrong, watched)
    if found is None:
        return ListedRun(_of_ledger(path, run, wrong), None)
    is_stable = all(mtime < began - YOUNG_NANOS for _, _, mtime, _ in watched)
    return ListedRun(found, tuple(watched) if is_stable else None)


def _of_cards(
    path: Path, names: frozenset[str], run: dict[str, Any], wrong: str, watched: list[Stamp]
) -> RunSummary | None:
    """What the cards say of a run that has ended; None: it has not, or they do not say it."""
    heads = _heads(path, names, watched) if MANIFEST in names else []
    if not heads or not all(one.ended for one in heads) or max(one.nodes for one in heads) != len(heads):
        return None
    if any(LOST_LEDGER in one.losses for one in heads) or all(one.started is None for one in heads):
        return None
    has_edits = edits.FILE in names
    try:
        if ".steno" in names and not _is_quiet(path, watched):
            return None
        for name in (MANIFEST, edits.FILE) if has_edits else (MANIFEST,):
            _watch(path, name, watched)
    except OSError:
        return None  # a file is gone
    return _summary(
        path,
        run,
        wrong,
        state=_state(heads),
        started=min(one.started for one in heads if one.started is not None),
        records=sum(one.records for one in heads),
        points=sum(one.points for one in heads),
        attempts=max(one.attempt for one in heads),
        last_time=max((one.last_time for one in heads if one.last_time is not None), default=None),
        config=_united(path, heads, "config"),
        user_summary=_united(path, heads, "summary"),
        has_edits=has_edits,
    )


def _watch(path: Path, name: str, watched: list[Stamp]) -> None:
    """Raises OSError."""
    watched.append(stamp(name, os.stat(os.path.join(path, name))))


def _read(path: Path, name: str, watched: list[Stamp]) -> bytes:
    """A small file of the run, watched from then on. Raises OSError or CorruptError."""
    fd = inside.opened(os.path.join(path, name))
    try:
        found = os.fstat(fd)
        watched.append(stamp(name, found))
        if found.st_size > inside.LARGEST_BYTES:
            raise CorruptError(f"{path / name} has {found.st_size:,} bytes")
        return os.read(fd, found.st_size)
    finally:
        os.close(fd)


def _run_json(path: Path, watched: list[Stamp]) -> tuple[dict[str, Any], str]:
    try:
        data = _read(path, runfile.FILE, watched)
    except (OSError, CorruptError):
        return runfile.read(path)
    return runfile.parsed(data, os.path.join(path, runfile.FILE))


def _heads(path: Path, names: frozenset[str], watched: list[Stamp]) -> list[card.CardHead]:
    """The cards of the run; none where one cannot be used."""
    found = []
    for name in names:
        if card.NAME.fullmatch(name):
            try:
                found.append(card.decode(_read(path, name, watched), card.CardHead))
            except (OSError, CorruptError):
                return []
    return found


def _is_quiet(path: Path, watched: list[Stamp]) -> bool:
    """Whether nobody records, and nobody has left something that is not posted. Raises OSError."""
    journal = os.path.join(".steno", "journal")
    try:
        _watch(path, journal, watched)
        return not os.listdir(os.path.join(path, journal))
    except FileNotFoundError:
        _watch(path, ".steno", watched)
        return True


def _state(heads: Sequence[card.CardHead]) -> str:
    """As `run_state` judges an ended run."""
    latest = max(one.attempt for one in heads)
    states = {state for one in heads if one.attempt == latest for state in one.primaries}
    if "failed" in states:
        return "failed"
    return "crashed" if states & {"dead", "lost", "live", "adopted"} else "finished"


def _united(path: Path, heads: Sequence[card.CardHead], name: str) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for one in heads:
        facts = getattr(one, name)
        if facts is None:  # too large for a card
            return dict(read_manifest(path)[0].get(name) or {})
        united.update(facts)
    return united


def _of_ledger(path: Path, run: dict[str, Any], wrong: str) -> RunSummary:
    """Of a run that goes on, or has no cards."""
    manifest, _ = read_manifest(path)
    if manifest.get("state") and manifest.get("streams") and not _has_journals(path):
        streams, state = manifest["streams"], str(manifest["state"])
        points = sum(part["rows"] for part in manifest["parts"] if part["kind"] == "metrics")
        meta: Mapping[str, Any] = manifest
    else:
        snapshot = Reader(path).snapshot(batches=False)
        streams = [{name: getattr(one, name) for name in _OF_STREAM} for one in snapshot.streams]
        state = state_of(path, snapshot, manifest)
        points = sum(part.rows for part in snapshot.parts if part.kind == "metrics")
        meta = snapshot.meta
    return _summary(
        path,
        run,
        wrong,
        state=state,
        started=min((one["started"] for one in streams if one["started"]), default=None),
        records=sum(one["records"] for one in streams),
        points=sum(one["points"] for one in streams) or points,
        attempts=max((one["attempt"] for one in streams), default=1),
        last_time=max((one["last_time"] for one in streams), default=None),
        config=meta.get("config") or {},
        user_summary=meta.get("summary") or {},
        has_edits=True,
    )


def _has_journals(path: Path) -> bool:
    try:
        return bool(os.listdir(os.path.join(path, ".steno", "journal")))
    except OSError:
        return False


_OF_STREAM: Final = ("started", "records", "points", "attempt", "last_time")


def _summary(
    path: Path,
    run: dict[str, Any],
    wrong: str,
    *,
    state: str,
    started: int | None,
    records: int,
    points: int,
    attempts: int,
    last_time: int | None,
    config: Mapping[str, Any],
    user_summary: Mapping[str, Any],
    has_edits: bool,
) -> RunSummary:
    shown, unedited = edits.shown(path, run) if has_edits else (edits.applied(run, ()), "")
    project, name = identity(path, shown)
    return RunSummary(
        path=path,
        project=project,
        name=name,
        id=str(run.get("id") or ""),
        state=state,
        started=started if started is not None else created_ns(run.get("created")),
        records=records,
        points=points,
        attempts=attempts,
        group=run.get("group"),
        tags=tuple(shown["tags"]),
        problem=wrong or unedited,
        ended=None if state in {"", "running"} else last_time,
        notes=str(shown.get("notes") or ""),
        archived=shown["archived"],
        colour=shown["colour"],
        config={**(run.get("config") or {}), **config},
        summary=dict(user_summary),
    )


def created_ns(created: object) -> int | None:
    """Nanoseconds, or seconds as a float."""
    if isinstance(created, float):
        return int(created * 1e9)
    return created if isinstance(created, int) else None
