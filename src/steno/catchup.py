"""Posts and delivers what a run still owes: `steno.sync`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files
from steno.capture.collected import asked, behind, status
from steno.capture.start import liveness, uploading
from steno.capture.start.collector_process import environment, is_running
from steno.errors import DestinationError, RunNotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ERROR_CHARS: Final = 2000
_POLL_SECS: Final = 0.05


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `steno.sync` reached."""

    complete: bool
    """Every journal of this machine is posted, every destination has all records, every store all that there is."""
    lacking: tuple[str, ...]
    """Destinations that have not all records yet."""
    unposted: tuple[str, ...]
    """Journals of this machine that are not wholly posted; those of live writers among them."""
    destinations: dict[str, Any] = field(default_factory=dict)
    """Each one's health: delivered, lag, last error."""
    uploads: dict[str, Any] = field(default_factory=dict)
    """Of a run that is kept in object stores: state, stores, files and bytes that are left, rate, last error."""
    error: str = ""


def sync(
    run: Any,
    to: str | tuple[str, dict[str, Any]] | Iterable[Any] | None = None,
    timeout: float | None = None,
    *,
    store: str | None = None,
) -> SyncReport:
    """Post a run's journals, deliver to its destinations and object stores, also after its processes have died.

    Args:
        run: a run's directory, its name, or what has a directory as `.dir` (a `Run`, a book).
        to: destinations to add, as in `init`: they get the whole run from its first record. One that the run has
            already is given what it lacks; options then must be those it has, or be left out.
        timeout: seconds; None: as long as it takes.
        store: URL of an object store to keep the run in from now on, as in `init`.

    Raises:
        RunNotFoundError: there is no run.
        UsageError: the store cannot be used, or the run is kept in another one.
        DestinationError: `to` names none that a collector can deliver to, or one that is there with other options.
    """
    from steno.store.runs import find

    run_dir = find(getattr(run, "dir", run)).absolute()
    if not (run_dir / ".steno").is_dir():
        msg = f"{run_dir} has no .steno directory: it is a copy to read, with nothing left to post"
        raise RunNotFoundError(msg)
    _add(run_dir, to)
    _keep_in(run_dir, store)
    deadline = None if timeout is None else time.monotonic() + timeout
    error = _collect(run_dir, deadline)
    # A collector of the run's own may be at work, and ours has left at once: wait for it, then look again.
    while not error and is_running(run_dir) and not _settled(run_dir):
        if deadline is not None and time.monotonic() >= deadline:
            error = f"another collector is at work on this run, and was not done within {timeout} seconds"
            break
        time.sleep(_POLL_SECS)
        if not is_running(run_dir):
            error = _collect(run_dir, deadline)
    current = status(run_dir)
    waiting = _unstored(current)
    if waiting and not error:
        error = f"{waiting} artifacts are not stored yet"
    lacking = tuple(one.name for one in behind(run_dir, int(current.get("record") or 0)))
    unposted = tuple(_unposted(run_dir))
    uploads = uploading.lacking(run_dir)
    # While a writer lives, what is sealed by now is all that a store can have.
    owing = uploads and not (unposted and uploads["state"] == "waiting")
    return SyncReport(
        complete=not (error or lacking or unposted or owing),
        lacking=lacking,
        unposted=unposted,
        destinations={name: (current.get("destinations") or {}).get(name) or {} for name in asked(run_dir)},
        uploads=uploads or current.get("uploads") or {},
        error=error,
    )


def _collect(run_dir: Path, deadline: float | None) -> str:
    """One collector's work on what is there now; what went wrong, or ""."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        # -P: the working directory is no place to import from.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "steno.collector", str(run_dir), "--once"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=left,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return "not done within the timeout"
    # 1: done, and destinations lack records, as their health says.
    if done.returncode in {0, 1}:
        return ""
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return f"the collector ended with exit status {done.returncode}: {text[-_ERROR_CHARS:]}"


def _settled(run_dir: Path) -> bool:
    """Whether a collector that is at work has done all that this call can wait for.

    While writers live it stays, and its destinations catch up at their own pace.
    """
    journal = run_dir / ".steno" / "journal"
    unposted = _unposted(run_dir)
    if not all(_lives(journal, name) for name in unposted):
        return False
    current = status(run_dir)
    owing = _unstored(current) or behind(run_dir, int(current.get("record") or 0)) or uploading.lacking(run_dir)
    return bool(unposted) or not owing


def _unstored(current: Mapping[str, Any]) -> int:
    """Artifacts that the collector had not stored when it wrote its status."""
    return int((current.get("artifacts") or {}).get("waiting") or 0)


def _lives(journal: Path, stream: str) -> bool:
    # Our own lock must not even be looked at: closing the file drops it.
    return stream.rsplit("-", 2)[-2:-1] == [str(os.getpid())] or liveness.lives(journal / stream)


def _add(run_dir: Path, to: Any) -> None:
    if to is None:
        return
    from steno.destinations import registry

    one = isinstance(to, str) or (isinstance(to, tuple) and len(to) == 2 and isinstance(to[1], dict))
    for item in [to] if one else list(to):
        spec = registry.normalise(item)
        if spec.placement not in {"file", "process"}:
            msg = f"the destination {spec.name!r} runs in the training process: sync can add tensorboard, csv, jsonl, …"
            raise DestinationError(msg)
        path = run_dir / ".steno" / "destinations" / f"{spec.name}.json"
        wanted = {"name": spec.name, "kind": spec.placement, "options": dict(spec.options)}
        if files.create_json(path, wanted) or not spec.options:
            continue
        there = files.read_json(path).get("options", {})
        if there != json.loads(json.dumps(wanted["options"])):
            msg = f"the run has the destination {spec.name!r} with the options {there}, which stay: leave options out"
            raise DestinationError(msg)


def _keep_in(run_dir: Path, store: str | None) -> None:
    if store is None:
        return
    from steno.objects import url as urls

    def refuse(_: str, message: str) -> None:
        raise UsageError(message)

    uploading.enter(run_dir, {"store": urls.check("store", store)}, refuse)


def _unposted(run_dir: Path) -> list[str]:
    """Streams whose segments are still there: a posted segment is unlinked."""
    found = []
    for entry in files.scan(run_dir / ".steno" / "journal"):
        if entry.name.endswith(".pointer"):
            found.append(entry.name.removesuffix(".pointer"))
        elif not entry.name.startswith(".") and any(one.name.endswith(".seg") for one in files.scan(Path(entry.path))):
            found.append(entry.name)
    return sorted(found)
