"""The beginning of a run that is a writers' logdir: made in place, or joined when it is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import files, paths
from steno.capture.start import attempt, beginning, naming
from steno.capture.start import request as requests
from steno.capture.start.attempt import RecordingPlace
from steno.capture.start.launcher import Launch
from steno.capture.start.liveness import is_live
from steno.errors import UsageError

if TYPE_CHECKING:
    from steno.capture.report import Reporter
    from steno.capture.start.request import Request
    from steno.capture.start.started import StartedRun

LAYOUT = "logdir"
_TO_A_STORE = (
    "record into a local one, and `steno sync LOGDIR --store s3://bucket/prefix` puts it into an object store; or log "
    "into a run of steno.init(store='s3://bucket/prefix')"
)
_PARTS = ("journal", "attempts", "jobs", "destinations", "nodes")


def check(logdir: Any, *, suffix: str, version: str) -> Request:
    """What a writer asks for, checked.

    Raises:
        UsageError: it is no path, or the environment cannot be used.
    """
    place = Path(paths.absolute("logdir", logdir, _TO_A_STORE))
    request = requests.check(
        version=version, dir=place.parent,
        destinations=[("tensorboard", {"suffix": suffix})] if suffix else ["tensorboard"],
    )  # fmt: skip
    # All ranks meet in the logdir they name: which job they belong to does not matter.
    launch = Launch(rank=request.launch.rank, world_size=request.launch.world_size)
    return replace(request, root=place.parent, project=place.parent.name or "logdir", name=place.name, launch=launch)


def begin(request: Request, *, purge_step: int | None, report: Reporter) -> StartedRun:
    """Record into the logdir: made if need be, joined while it is live, else gone on with in a new attempt.

    Args:
        request: from `check`.
        purge_step: earlier attempts' points from this step on are hidden, and automatic steps go on from it.
        report: called with (key, message) once per key.

    Raises:
        UsageError: the directory cannot be written, its path is too long, or it holds a run that is no logdir.
    """
    assert request.name is not None
    logdir = request.root / request.name
    attempt.require_room(logdir)
    try:
        with attempt.exclusive(logdir / ".steno"):
            place = _prepare(logdir, request, purge_step, report)
            beginning.enter_destinations(logdir, request.destinations, report)
            about = beginning.describing(logdir, report)
            started = beginning.record(place, about, request, report, export=False, lazy=place.born)
            started.discard = (lambda: discard(started)) if place.born else None
            return started
    except OSError as error:
        raise UsageError(
            f"{logdir} cannot be used as a logdir: {error.strerror or error}. Pass a directory you can write"
        ) from error


def discard(started: StartedRun) -> bool:
    """End a logdir into which nothing was recorded: nothing of it stays but the directory. False: there is something.

    Only for one that was made here; what others have put there stays.
    """
    recorder = started.recorder
    with attempt.exclusive(started.dir / ".steno"):
        if not recorder.is_bare or started.watchdog.alive():
            return False
        recorder.close()
        if not recorder.is_bare:
            return False  # another thread has added something in this very moment
        if len(attempt.attempts(started.dir)) == 1:
            files.remove_tree(started.dir / ".steno")
            files.unlink(started.dir / "run.json", missing_ok=True)
    return True


def nothing(request: Request, report: Reporter) -> StartedRun:
    """A logdir of which no file is made."""
    started = beginning.nothing(request, report)
    started.dir = request.root / (request.name or naming.fresh())
    return started


def _prepare(logdir: Path, request: Request, purge_step: int | None, report: Reporter) -> RecordingPlace:
    for part in _PARTS:
        (logdir / ".steno" / part).mkdir(parents=True, exist_ok=True)
    if not (logdir / "run.json").exists():
        # Event files of other writers may lie here already: they stay, and are shown next to ours.
        files.create_json(
            logdir / "run.json", {**beginning.describe_request(request)(), "name": logdir.name, "layout": LAYOUT}
        )
    about = beginning.describing(logdir, report)
    if about.get("layout") != LAYOUT:
        raise UsageError(
            f"{logdir} is a run of steno.init, not a writers' logdir: pass another logdir, or log by steno.log"
        )
    there = attempt.attempts(logdir)
    if not there:
        opened = files.create_json(
            attempt.attempt_path(logdir, 1), attempt.attempt_facts(1, "", request.launch, purge_step)
        )
        if opened:
            return RecordingPlace(logdir, logdir.name, 1, born=True, opened=True, rewind=purge_step)
        there = attempt.attempts(logdir)
    latest = there[-1]
    if is_live(logdir) or attempt.is_awaited(logdir, there[-1:]):
        if purge_step is not None and purge_step != latest.rewind:
            report(
                "purge_step",
                f"purge_step={purge_step} is ignored: another process writes into {logdir} now, and its points stay",
            )
        return RecordingPlace(logdir, logdir.name, latest.number, born=False, opened=False, rewind=latest.rewind)
    return attempt.open_next(logdir, logdir.name, "", request.launch, purge_step)
