"""How far this machine's collector has come, from its `status.json`; and asking it to hurry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steno import machinery, statusfile
from steno.capture.start.collector_process import node_dirs
from steno.destinations.asked import destinations
from steno.journal.wakeup import wake

if TYPE_CHECKING:
    from pathlib import Path


def status(run_dir: Path) -> dict[str, Any]:
    """This machine's status, the last one where the run has put its machinery away; empty when there was none."""
    for path in node_dirs(run_dir):
        found = statusfile.read(path)
        if found:
            return found
    said = (text for name, text in machinery.packed(run_dir).items() if name.endswith(f"/{statusfile.FILE}"))
    return next(filter(None, map(statusfile.parsed, said)), {})


def hurry(run_dir: Path) -> None:
    """Have this machine's collector post now, if it works: somebody waits for it."""
    for path in node_dirs(run_dir):
        wake(path)


@dataclass(frozen=True, slots=True)
class Behind:
    """A destination of the collectors' that has not taken a record yet."""

    name: str
    own: bool
    """One of steno's own, whose files the collector itself writes."""
    state: str
    lag: int
    """Records that it lacks, as the collector said last."""
    error: str

    @property
    def stopped(self) -> bool:
        """It will never take the record."""
        return self.state == "stopped"


def behind(run_dir: Path, record: int) -> list[Behind]:
    """The destinations that have not taken this node's record of this number yet; those not confirmed take none."""
    wanted = destinations(run_dir)
    if not wanted:
        return []
    progress = status(run_dir).get("destinations") or {}
    found = []
    for name, one in wanted.items():
        health = progress.get(name) or {}
        if int(health.get("delivered") or 0) < record:
            lag, error = int(health.get("lag") or 0), str(health.get("error") or "")
            found.append(Behind(name, one.kind == "file", str(health.get("state", "")), lag, error))
    return found


@dataclass(frozen=True, slots=True)
class Encoding:
    """How far the collector is with the media of this machine."""

    waiting: int
    kept_raw: int
    """Values that could not be encoded."""
    dealt_with: int
    """By this collector, encoded or kept raw, in the order in which they came."""
    process: int


def encoding(run_dir: Path, record: int) -> Encoding | None:
    """What the collector says of media; None while it does not know this record yet."""
    current = status(run_dir)
    if int(current.get("record") or 0) < record:
        return None
    media = current.get("media") or {}
    waiting, kept = int(media.get("waiting") or 0), int(media.get("kept_raw") or 0)
    return Encoding(waiting, kept, int(media.get("encoded") or 0) + kept, int(current.get("pid") or 0))
