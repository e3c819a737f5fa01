"""Posts and delivers what is left of a run: `steno.sync`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from steno import confirmed, files, inside, machinery, runfile
from steno.capture.collected import behind, status
from steno.capture.start import liveness, uploading
from steno.capture.start.collector_process import environment, is_running, node_dirs
from steno.destinations import asked
from steno.errors import DestinationError, RunNotFoundError, UsageError
from steno.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from steno.record import Unposted

_ERROR_CHARS: Final = 2000
_POLL_SECS: Final = 0.05
_ADOPTING_SECS: Final = 15.0
"""A collector that adopts journals may take so long in addition to what it waits for."""
ADOPT: Final = "adopt"
"""In a node's directory: its collector is to adopt journals of other machines immediately."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `steno.sync` reached."""

    complete: bool
    """Every journal is posted, every destination has all records, every store all that there is."""
    lacking: tuple[str, ...]
    """Destinations that have not all records yet."""
    unposted: tuple[Unposted, ...]
    """What of journals nobody has posted, those of live writers and of other machines among them."""
    destinations: dict[str, Any] = field(default_factory=dict)
    """Each one's health: delivered, lag, last error."""
    uploads: dict[str, Any] = field(default_factory=dict)
    """Of a run that is kept in object stores: state, stores, files and bytes that are left, rate, last error."""
    unconfirmed: tuple[str, ...] = ()
    """Places that the run itself names and this user has not: they got nothing. `confirm` takes them as they are."""
    error: str = ""


def sync(
    run: Any,
    to: str | tuple[str, dict[str, Any]] | Iterable[Any] | None = None,
    timeout: float | None = None,
    *,
    store: str | None = None,
    confirm: str | tuple[str, dict[str, Any]] | Iterable[Any] | None = None,
    adopt: bool = False,
) -> SyncReport:
    """Post a run's journals, deliver to its destinations and object stores, also after its processes have died.

    What the run itself names as a place, and this user has named neither here nor in `init`, gets nothing:
    `SyncReport.unconfirmed`. The journal of another machine's writer is posted once it has given no sign of life for
    `Settings.adopt_secs`.

    Args:
        run: a run's directory, its name, or what has a directory as `.dir` (a `Run`, a `RunReader`).
        to: destinations to add, as in `init`: they get the whole run from its first record. One that the run has
            already is given what it lacks; options then must be those it has, or be left out.
        timeout: seconds; None: as long as it takes.
        store: URL of an object store to keep the run in from now on, as in `init`.
        confirm: places to go to that the run names: URLs, and destinations as in `to`, with all their options.
        adopt: post the journals of other machines immediately. A writer that lives all the same goes on in a new one.

    Returns:
        What was posted, delivered and sent, and what is left.

    Raises:
        RunNotFoundError: there is no run.
        UsageError: the store cannot be used, or the run is kept in another one.
        DestinationError: `to` names none that a collector can deliver to, or one that is there with other options.
        CorruptError: something in the run's machinery is a link, or no file.

    Thread-safe, and several processes may sync a run, while it is recorded too: one collector of a node works at a
    time. If the process dies, what was posted and delivered stays, and the next call does the rest.
    """
    from steno.store.info import left_in
    from steno.store.runs import find

    run_dir = find(getattr(run, "dir", run)).absolute()
    done = _enter(run_dir, to, store, confirm)
    if done is not None:
        return done
    deadline = None if timeout is None else time.monotonic() + timeout
    adopt_secs = Settings().adopt_secs
    patient_until = time.monotonic() + (_ADOPTING_SECS if adopt else 1.25 * adopt_secs + _ADOPTING_SECS)
    error = _collect(run_dir, deadline, adopt=adopt)
    if adopt and is_running(run_dir):
        for place in node_dirs(run_dir):
            files.touch(place / ADOPT)
    # A collector of the run's own may be at work, and ours has left at once: wait for it, then look again.
    while not error and is_running(run_dir):
        patient = (adopt or adopt_secs > 0) and time.monotonic() < patient_until
        if _is_done(run_dir, patient=patient):
            break
        if deadline is not None and time.monotonic() >= deadline:
            error = f"another collector is at work on this run, and was not done within {timeout} seconds"
            break
        time.sleep(_POLL_SECS)
        if not is_running(run_dir):
            error = _collect(run_dir, deadline, adopt=adopt)
    current = status(run_dir)
    waiting = _unstored(current)
    if waiting and not error:
        error = f"{waiting} artifacts are not stored yet"
    lacking = tuple(one.name for one in behind(run_dir, int(current.get("record") or 0)))
    unposted = tuple(left_in(run_dir))
    unconfirmed, wanted = tuple(asked.unconfirmed(run_dir)), asked.destinations(run_dir)
    health = current.get("destinations") or {}
    uploads = uploading.lacking(run_dir)
    # While a writer lives, what is sealed by now is all that a store can have.
    is_left = uploads and not (liveness.open_journals(run_dir) and uploads["state"] == "waiting")
    return SyncReport(
        complete=not (error or lacking or unposted or is_left or unconfirmed),
        lacking=lacking,
        unposted=unposted,
        destinations={name: health.get(name) or {} for name in (wanted or health)},
        uploads=uploads or current.get("uploads") or {},
        unconfirmed=unconfirmed,
        error=error,
    )


def _enter(run_dir: Path, to: Any, store: str | None, confirm: Any) -> SyncReport | None:
    """Have the run's machinery there and know what is asked for, while nobody puts it away; or there is nothing to do.

    What was asked for in machinery that a collector is taking away would be gone with it.
    """
    from steno.store.cards import are_lacking

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a directory that cannot be locked
            stack.enter_context(runfile.alone(run_dir))
        machinery.sweep(run_dir)
        if machinery.is_retired(run_dir):
            if to is None and store is None and confirm is None and not are_lacking(run_dir):
                said = status(run_dir)
                health, uploads = said.get("destinations") or {}, said.get("uploads") or {}
                return SyncReport(complete=True, lacking=(), unposted=(), destinations=health, uploads=uploads)
            machinery.restore(run_dir)
        if not (run_dir / ".steno").is_dir():
            msg = f"{run_dir} has no .steno directory: it is a copy to read, with nothing left to post"
            raise RunNotFoundError(msg)
        inside.check(run_dir)
        runfile.require_format(run_dir, writing=True)
        _confirm(run_dir, confirm)
        _add(run_dir, to)
        _keep_in(run_dir, store)
    return None


def is_incomplete(run_dir: Path) -> bool:
    """Whether a sync of the run on this machine has something to do, as far as its files say.

    A run that is being recorded, or that a collector is at work on, needs none.
    """
    if not (run_dir / ".steno").is_dir() or liveness.is_live(run_dir) or is_running(run_dir):
        return False
    if liveness.open_journals(run_dir):
        return True
    current = status(run_dir)
    is_left = _unstored(current) or behind(run_dir, int(current.get("record") or 0)) or uploading.lacking(run_dir)
    return bool(is_left)


def _collect(run_dir: Path, deadline: float | None, *, adopt: bool) -> str:
    """One collector's work on what is there now; what went wrong, or ""."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        # -P: the working directory is no place to import from.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "steno.collector", str(run_dir), "--once", *(["--adopt"] if adopt else [])],
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


def _is_done(run_dir: Path, *, patient: bool) -> bool:
    """Whether a collector that is at work has done all that this call can wait for.

    While writers live it stays, and its destinations catch up at their own pace.
    """
    left = liveness.open_journals(run_dir)
    if any(liveness.is_waited_for(stream, place, patient=patient) for stream, place in left.items()):
        return False
    current = status(run_dir)
    is_left = _unstored(current) or behind(run_dir, int(current.get("record") or 0)) or uploading.lacking(run_dir)
    return bool(left) or not is_left


def _unstored(current: Mapping[str, Any]) -> int:
    """Artifacts that the collector had not stored when it wrote its status."""
    return int((current.get("artifacts") or {}).get("waiting") or 0)


def _add(run_dir: Path, to: Any) -> None:
    if to is None:
        return
    from steno.destinations import registry

    for item in _each(to):
        spec = registry.normalise(item)
        if spec.placement not in {"file", "process"}:
            msg = f"the destination {spec.name!r} runs in the training process: sync can add tensorboard, csv, jsonl, …"
            raise DestinationError(msg)
        there = asked.enter(run_dir, spec)
        if there is not None and spec.options:
            msg = f"the run has the destination {spec.name!r} with the options {there}, which stay: leave options out"
            raise DestinationError(msg)
        place = confirmed.text_of(spec.name, spec.options if there is None else there)
        if spec.placement == "file" or confirmed.has(asked.id_of(run_dir), place):
            continue
        if there is not None:  # options are not taken from a run
            raise DestinationError(asked.line(run_dir, place))
        asked.confirm(run_dir, place, _refuse)


def _confirm(run_dir: Path, places: Any) -> None:
    """Note what of the places that the run names this user wants."""
    named = asked.all_places(run_dir)
    for item in [] if places is None else _each(places):
        place = confirmed.place_of(item) if isinstance(item, str) else confirmed.text_of(*item)
        if place not in named:
            there = f"it asks for {', '.join(named)}" if named else "it asks for nothing but its own files"
            raise UsageError(f"the run does not ask for {place}: {there}")
        asked.confirm(run_dir, place, _refuse)


def _each(given: Any) -> list[Any]:
    one = isinstance(given, str) or (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict))
    return [given] if one else list(given)


def _refuse(_: str, message: str) -> None:
    raise UsageError(message)


def _keep_in(run_dir: Path, store: str | None) -> None:
    if store is None:
        return
    from steno.objects import url as urls

    uploading.enter(run_dir, {"store": urls.check("store", store)}, _refuse)
