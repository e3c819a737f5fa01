"""What is known of a run other than its points."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from steno import edits, files, runfile
from steno.ledger import streams
from steno.ledger.listed import MANIFEST, read_manifest
from steno.ledger.read import Reader
from steno.ledger.snapshot import ELSEWHERE, LOST_LEDGER, run_state
from steno.ledger.unposted import unposted
from steno.record import node_name
from steno.store.intact import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from steno.ledger.snapshot import Loss, Snapshot, Stream
    from steno.record import Unposted
    from steno.store.attempts import Attempt


@dataclass(frozen=True, slots=True)
class Info:
    """A run's identity, configuration and state, as of the moment it was read. Times in ns since 1970, UTC."""

    dir: Path
    name: str
    project: str
    id: str
    state: str
    """running, finished, failed or crashed, judged on the latest attempt; empty before anything was posted.

    unposted: it would be finished, but `unposted` says what nobody has posted yet.
    """
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What the user set; `RunReader.summary` adds last, min, max and count per key."""
    attempts: tuple[Attempt, ...] = ()
    ranks: tuple[int, ...] = ()
    started: int | None = None
    ended: int | None = None
    """When the last record came, for a run that is over; None while it is running."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    archived: bool = False
    colour: str = ""
    """As #rrggbb; empty: the viewer chooses. Name, tags and notes too are as they were edited; `run` is as recorded."""
    group: str | None = None
    command: str = ""
    git: Mapping[str, Any] = field(default_factory=dict)
    records: int = 0
    points: int = 0
    error: str | None = None
    """What ended a failed attempt, as far as it could be said."""
    losses: tuple[Loss, ...] = ()
    unposted: tuple[Unposted, ...] = ()
    """Journals of a run that does not go on which hold more than was posted: stream, host, records, bytes, age."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """What could not be read, and why: ledgers ("node ID"), parts (their path), run.json, manifest.json, edits.jsonl;
    "store": the run's object store does not answer, and all is as it was known last.

    What they held is missing.
    """
    silent: Mapping[str, float] = field(default_factory=dict)
    """Of a run in an object store: by node that should have given news of itself, for how many seconds it has not."""
    world_size: int | None = None
    """How many processes the latest attempt was started with, where that is known; `ranks` are those that recorded."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """All of run.json that is what it must be."""


def state_of(
    run_dir: Path, snapshot: Snapshot, manifest: Mapping[str, Any], left: Sequence[Unposted] | None = None
) -> str:
    """The run's state; empty when neither ledger nor manifest say one.

    `left`: what is not posted, where that is known already.
    """
    if manifest.get("judged") is True and isinstance(manifest.get("state"), str):  # in an object store, by its nodes
        return str(manifest["state"])
    if manifest.get("retired") is True and manifest.get("state") and not (run_dir / ".steno").exists():
        return str(manifest["state"])
    judge = partial(run_state, snapshot.streams, attempts=streams.attempts(run_dir), losses=snapshot.losses)
    if not snapshot.streams:
        return judge(streams.live(run_dir)) or str(manifest.get("state") or "")
    seems_live = any(stream.state in {"live", "adopted"} for stream in snapshot.streams)
    # A ledger that calls a writer alive may be that of a collector killed together with it.
    state = judge(streams.live(run_dir) if seems_live else ())
    if state == "finished" and (unposted(run_dir) if left is None else left):
        return UNPOSTED
    return state


def info_of(
    run_dir: Path, snapshot: Snapshot, attempts: tuple[Attempt, ...], damaged: Mapping[str, str] | None = None
) -> Info:
    """The information on a run, from run.json, its ledgers or manifest, and its attempts."""
    (run, wrong), (manifest, unusable) = runfile.read(run_dir), read_manifest(run_dir)
    shown, unedited = edits.shown(run_dir, run)
    left = tuple(unposted(run_dir))
    state = state_of(run_dir, snapshot, manifest, left)
    known = snapshot.streams
    started = [stream.started for stream in known if stream.started]
    return Info(
        dir=run_dir,
        name=str(shown.get("name") or run_dir.name),
        project=str(run.get("project") or run_dir.parent.name),
        id=str(run.get("id") or ""),
        state=state,
        config={**(run.get("config") or {}), **(snapshot.meta.get("config") or {})},
        summary=dict(snapshot.meta.get("summary") or {}),
        attempts=attempts,
        ranks=tuple(sorted({stream.rank for stream in known})),
        started=min(started, default=None),
        ended=None if state in {"", "running"} else max((stream.last_time for stream in known), default=None),
        tags=tuple(shown["tags"]),
        notes=str(shown.get("notes") or ""),
        archived=shown["archived"],
        colour=shown["colour"],
        group=run.get("group"),
        command=_command(run.get("command")),
        git=run.get("git") or {},
        records=sum(stream.records for stream in known),
        points=sum(stream.points for stream in known),
        error=_error(known),
        losses=snapshot.losses,
        unposted=() if state == "running" else left,
        unreadable={**_unreadable(snapshot, wrong, unusable, unedited), **(damaged or {})},
        silent=_silent(manifest.get("silent")) if state == "running" else {},
        world_size=_world_size(run_dir, manifest),
        run=run,
    )


def _silent(found: Any) -> dict[str, float]:
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(node): float(secs) for node, secs in pairs if isinstance(secs, int | float)}


def _world_size(run_dir: Path, manifest: Mapping[str, Any]) -> int | None:
    begun = sorted(entry.name for entry in files.scan(run_dir / ".steno" / "attempts") if entry.name[0] != ".")
    found = (files.read_json(run_dir / ".steno" / "attempts" / begun[-1]) if begun else manifest).get("world_size")
    return found if isinstance(found, int) else None


def _unreadable(snapshot: Snapshot, wrong: str, unusable: str, unedited: str) -> dict[str, str]:
    said = {runfile.FILE: wrong, MANIFEST: unusable, edits.FILE: unedited}
    said.update((f"node {node_name(node)}", why) for node, why in snapshot.unreadable.items())
    return {name: why for name, why in said.items() if why}


def damage_in(run_dir: Path) -> list[str]:
    """As `damage`, of a run whose parts are not looked at."""
    snapshot = Reader(run_dir).snapshot(batches=False)
    wrong = (runfile.read(run_dir)[1], read_manifest(run_dir)[1], edits.read(run_dir)[1])
    return damage(snapshot.losses, _unreadable(snapshot, *wrong))


def left_in(run_dir: Path) -> list[Unposted]:
    """What of the run's journals nobody has posted."""
    return unposted(run_dir)


UNPOSTED: Final = "unposted"
"""State of a run that would be finished if all that was recorded were posted."""
DAMAGE: Final = frozenset({LOST_LEDGER, "lost journal", "lost bytes", "damaged batch", DAMAGED})
"""Kinds of losses that took something which had been recorded; the others were refused, or never came."""


def damage(losses: Iterable[Loss], unreadable: Mapping[str, str]) -> list[str]:
    """A line for each loss of what had been recorded, and for each file that cannot be read."""
    lost = [one for one in losses if one.kind in DAMAGE]
    said = tuple(one.name for one in lost)
    return [
        *(f"{one.kind}, {one.name}: {one.count:,} ({one.reason})" for one in lost),
        *(
            f"{name} cannot be read: {why}"
            for name, why in unreadable.items()
            if not why.startswith(ELSEWHERE) and not name.endswith(said)
        ),
    ]


def _command(command: Any) -> str:
    return " ".join(map(str, command)) if isinstance(command, list) else str(command or "")


def _error(known: Iterable[Stream]) -> str | None:
    found = list(known)
    latest = max((stream.attempt for stream in found), default=0)
    return next((stream.error for stream in found if stream.error and stream.attempt == latest), None)
