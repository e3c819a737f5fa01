"""The beginning of a run in this process: found or made, its recorder started."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import confirmed, files, host, runfile
from steno.capture import importing  # noqa: F401 - for its hook, before those of the recorder
from steno.capture.inprocess import feeding
from steno.capture.nothing import Nothing
from steno.capture.open_runs import RUNS
from steno.capture.plain import written
from steno.capture.start import afar, attempt, naming, uploading
from steno.capture.start.identity import describe
from steno.capture.start.started import StartedRun
from steno.capture.start.watchdog import Watchdog
from steno.destinations import asked
from steno.errors import UsageError
from steno.record import CONFIG, START
from steno.settings import read, taken
from steno.utf8 import escaped

_MEASURES: Final = {
    "psutil": ("psutil", "CPU, memory, disk and network"),
    "pynvml": ("nvidia-ml-py", "NVIDIA GPU"),
}
"""By module: its package, and what nothing else measures."""

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steno.capture.report import Reporter
    from steno.capture.start.attempt import RecordingPlace
    from steno.capture.start.request import Request
    from steno.destinations.registry import Spec
    from steno.settings import Settings


def begin(request: Request, *, turn: int, report: Reporter) -> StartedRun:
    """Find or make the run and start recording.

    Raises:
        UsageError: the directory cannot be written, or `resume` and `rewind` do not fit what is there.
    """
    project_dir = request.root / request.project
    identity = describe_request(request)
    family = _family(request, turn, report)
    if request.launch.nodes > 1 and request.launch.rank == 0:
        report(
            "several nodes",
            "each node numbers automatic steps by itself: to compare ranks step by step, give log a step=",
        )

    def write(run_dir: Path, name: str) -> None:
        about = {**identity(), "name": name}
        if family:
            about |= {"family": family, "id": runfile.derived_id(family["id"], name)}
        files.write_json(run_dir / runfile.FILE, about, sync=True)

    if request.settings.journal_dir is not None:
        _usable(request.settings.journal_dir)
    with attempt.exclusive(project_dir):
        try:
            place = afar.bring(project_dir, request, family, turn, _live_secs(request)) or attempt.claim_attempt(
                project_dir,
                request.name or naming.of_job(request.launch),
                request.launch,
                resume=request.resume,
                rewind=request.rewind,
                turn=turn,
                describe=write,
                say=report,
                meets=request.name is not None or not request.launch.alone,
                is_open=_is_open,
            )
            about = _about(place, request, write, report)
            enter_destinations(place.dir, request.destinations, report)
            _enter_system(place, request.system_secs, report)
            uploading.enter(place.dir, request.stores, report, _live_secs(request))
            if not place.born:
                _report_unconfirmed(place.dir, report)
            # The lock is held until our journal's is: whoever comes next finds the run live.
            return record(place, about, request, report)
        except OSError as error:
            raise attempt.unwritable(project_dir, error) from error


def _live_secs(request: Request) -> float:
    """Seconds between two sendings of what no part has yet: more of them where there are more than 64 nodes."""
    given = request.settings.live_secs
    return given if given is not None else max(asked.LIVE_SECS, asked.LIVE_SECS * request.launch.nodes / 64)


def _family(request: Request, turn: int, report: Reporter) -> dict[str, Any]:
    """What hosts without a common disk know their run by in its store; empty: they have nothing in common."""
    launch = request.launch
    if launch.named is not None:
        name = request.name or naming.of_job(launch)
        return {
            "id": naming.family(launch.named, request.project, request.name, turn),
            "name": name,
            "unique": launch.named.unique,
            "rank": launch.rank,
            "world_size": launch.world_size,
        }
    if request.stores and launch.rank == 0 and launch.nodes > 1:
        report(
            "no job",
            "nothing names this job on all of its hosts, so that each host without the others' disk has a run of its "
            "own in the store: set STENO_JOB or STENO_RUN to one text on all of them, or give torchrun an --rdzv-id",
        )
    return {}


def _is_open(run_dir: Path) -> bool:
    return any(one.owner == os.getpid() and one.started.dir == run_dir for one in RUNS.all())


def describe_request(request: Request) -> Any:
    """A function that makes what `run.json` says; asked only by the process that makes the run."""

    def make() -> dict[str, Any]:
        from steno.capture.start.identity import Git

        git = Git()
        about = describe(
            id=naming.new_id(),
            project=request.project,
            config=request.config,
            tags=request.tags,
            notes=request.notes,
            group=request.group,
            git=None,
            version=request.version,
        )
        about["git"] = git.result()
        return about

    return make


def _usable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"journals cannot be kept in {path}: {reason}. Set another journal_dir=") from error


def describing(run_dir: Path, report: Reporter) -> dict[str, Any]:
    """What is good of the run's `run.json`; what is not is reported."""
    about, wrong = runfile.read(run_dir)
    if wrong:
        report(runfile.FILE, wrong)
    return about


def _about(place: RecordingPlace, request: Request, write: Any, report: Reporter) -> dict[str, Any]:
    """The run's `run.json`, with what a new attempt adds to it."""
    path = place.dir / runfile.FILE
    about = describing(place.dir, report)
    if not about.get("id"):
        write(place.dir, place.name)
        about = describing(place.dir, report)
    if place.opened and not place.born and (request.tags or request.notes or request.group):
        about["tags"] = list(dict.fromkeys([*about.get("tags", ()), *request.tags]))
        about["notes"] = request.notes or about.get("notes", "")
        about["group"] = request.group or about.get("group")
        files.write_json(path, about, sync=True)
    return about


def enter_destinations(run_dir: Path, specs: tuple[Spec, ...], report: Reporter) -> None:
    """Ask this run's collectors for destinations; one of the same name is asked for once."""
    for spec in specs:
        if spec.placement in {"console", "object"}:
            continue
        there = asked.enter(run_dir, spec)
        if there is not None:
            report(
                f"destination {spec.name}",
                f"the destination {spec.name!r} is there with other options ({there}), which stay",
            )
        elif spec.placement == "process":
            asked.confirm(run_dir, confirmed.text_of(spec.name, spec.options), report)


def _report_unconfirmed(run_dir: Path, report: Reporter) -> None:
    for place in asked.unconfirmed(run_dir):
        report(f"unconfirmed {place}", asked.line(run_dir, place))


def _enter_system(place: RecordingPlace, every_secs: float | None, report: Reporter) -> None:
    """Ask this attempt's collectors for the machine's metrics; who opens the attempt decides."""
    path = place.dir / ".steno" / "system.json"
    if place.opened and not place.born:
        files.unlink(path, missing_ok=True)
    if every_secs is not None and place.opened:
        _report_unmeasured(report)
    if every_secs is not None and not files.create_json(path, {"every_secs": every_secs}):
        there = files.read_json(path).get("every_secs")
        if there != every_secs:
            report("system", f"system_metrics={every_secs:g}: the run is measured every {there} seconds, which stays")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # loaded by hand, without a description
        return True


def _report_unmeasured(report: Reporter) -> None:
    """The collector measures what it can; whoever asks for it gets a message here about what is missing."""
    missing = {name: what for module, (name, what) in _MEASURES.items() if not _is_there(module)}
    if missing:
        packages, left_out = " and ".join(missing), " and ".join(missing.values())
        report(
            "system packages",
            f"system_metrics measures no {left_out}, for want of {packages}: pip install 'stenolog[system]'",
        )


def record(
    place: RecordingPlace,
    about: dict[str, Any],
    request: Request,
    report: Reporter,
    *,
    export: bool = True,
    lazy: bool = False,
) -> StartedRun:
    """Start recording into a run that is there; `lazy`: a collector is started once there is something to collect.

    Raises:
        OSError: the journal cannot be made.
    """
    from steno.capture.recorder import Recorder

    settings = request.settings
    watchdog = watching(place.dir, settings, report)
    started = StartedRun(
        dir=place.dir,
        id=str(about.get("id", "")),
        name=place.name,
        project=request.project,
        rank=request.launch.rank,
        attempt=place.attempt,
        config={**about.get("config", {}), **request.config},
        recorder=Nothing(),
        watchdog=watchdog,
        settings=settings,
        strict=request.strict,
    )
    if export:
        started.export({"STENO_RUN_DIR": str(place.dir), "STENO_RUN_AS": _as(started, request)})
    try:
        started.recorder = recorder = Recorder(
            place.dir,
            run_id=started.id,
            rank=started.rank,
            attempt=started.attempt,
            primary=True,
            arrays=request.arrays,
            strict=request.strict,
            report=report,
            watch=watchdog.watch,
            settings=settings,
        )
    except BaseException:
        started.restore()
        raise
    try:
        rewind = {} if place.rewind is None else {"rewind": place.rewind}
        recorder.entry(START, {**_start(started, request.launch.world_size), **rewind})
        if not place.born:
            _merge_config(started, about.get("config", {}), request.config, report)
        if lazy:
            recorder.mark_beginning()
            watchdog.defer(lambda: recorder.is_bare)
        elif place.opened:
            watchdog.start()
        if request.capture is not None:
            from steno.capture.output.capture import Capture

            started.output = Capture(recorder, request.capture, report)
        feeding.start(started, recorder, request, about, report)
    except BaseException:
        started.stop_observing()
        recorder.close()
        watchdog.release()
        started.restore()
        raise
    return started


def watching(run_dir: Path, settings: Settings, report: Reporter) -> Watchdog:
    """What keeps a collector at work for the run."""
    return Watchdog(
        run_dir,
        linger_secs=settings.linger,
        adopt_secs=settings.adopt_secs,
        report=report,
        enabled=settings.collector,
    )


def _as(started: StartedRun, request: Request) -> str:
    """What the children of this process that join the run are told."""
    facts = {"rank": started.rank, "attempt": started.attempt, "arrays": request.arrays, "settings": request.settings}
    return json.dumps(facts, default=lambda value: str(value) if isinstance(value, Path) else asdict(value))


def _start(started: StartedRun, world_size: int) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": host.name(),
        "rank": started.rank,
        "world_size": world_size,
        "argv0": escaped(os.path.basename(sys.argv[0])) if sys.argv else "",
        "primary": started.primary,
        "python": platform.python_version(),
    }


def _merge_config(started: StartedRun, there: Mapping[str, Any], ours: Mapping[str, Any], report: Reporter) -> None:
    changes = {key: value for key, value in written(ours).items() if key not in there or not _same(there[key], value)}
    conflicts = [key for key in changes if key in there]
    if changes:
        started.recorder.entry(CONFIG, changes)
    if conflicts:
        shown = ", ".join(f"{key}: {there[key]!r} → {changes[key]!r}" for key in conflicts[:5])
        report("config", f"the run {started.name!r} has another configuration; the new values hold ({shown})")


def _same(one: Any, other: Any) -> bool:
    """Whether two plain values are written alike: NaN is NaN here."""
    return one == other or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# -- the other ways in ----------------------------------------------------------------------------------


def nothing(request: Request, report: Reporter) -> StartedRun:
    """A run under `mode="off"`: the same API, no file, no thread."""
    name = request.name or naming.of_job(request.launch)
    place = request.root / request.project / name
    watchdog = Watchdog(place, linger_secs=None, report=report, enabled=False)
    return StartedRun(
        dir=place,
        id=naming.new_id(),
        name=name,
        project=request.project,
        rank=request.launch.rank,
        attempt=1,
        config=dict(request.config),
        recorder=Nothing(),
        watchdog=watchdog,
        settings=request.settings,
    )


def join(report: Reporter) -> StartedRun | None:
    """In a child that multiprocessing started: record into the run that its parent exported.

    Returns:
        None: this is no such child, or there is no such run any more.
    """
    processes = sys.modules.get("multiprocessing.process")
    run_dir = Path(read("STENO_RUN_DIR") or os.devnull)
    if processes is None or processes.parent_process() is None:
        return None
    about = describing(run_dir, report)
    if not about.get("id"):
        return None
    from steno.capture.recorder import Recorder

    try:
        facts = json.loads(read("STENO_RUN_AS", "{}"))
        rank, number = int(facts.get("rank", 0)), int(facts.get("attempt", 1))
        settings = taken(facts.get("settings"))
        watchdog = watching(run_dir, settings, report)
        recorder = Recorder(
            run_dir,
            run_id=str(about["id"]),
            rank=rank,
            attempt=number,
            primary=False,
            arrays=facts.get("arrays") or "summary",
            report=report,
            watch=watchdog.watch,
            settings=settings,
        )
    except (OSError, ValueError, AttributeError) as error:
        report("join", f"this process cannot record into {run_dir}: {error}")
        return None
    started = StartedRun(
        dir=run_dir,
        id=str(about["id"]),
        name=str(about.get("name", run_dir.name)),
        project=str(about.get("project", "")),
        rank=rank,
        attempt=number,
        config=dict(about.get("config", {})),
        recorder=recorder,
        watchdog=watchdog,
        settings=settings,
        primary=False,
    )
    recorder.entry(START, _start(started, 1))
    return started
