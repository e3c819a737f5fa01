"""The beginning of a run in this process: arguments checked, run found or made, recorder started."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import settings
from steno.capture import importing  # noqa: F401 - for its hook, before those of the recorder
from steno.capture.config import mask, plain
from steno.capture.files import load_json, write_json, write_once
from steno.capture.inprocess import feeding
from steno.capture.nothing import Nothing
from steno.capture.start import attempt, launcher, naming, uploading
from steno.capture.start.identity import describe
from steno.capture.start.watchdog import Watchdog
from steno.devices.base import FULL
from steno.errors import ClosedError, UsageError
from steno.record import CONFIG, LAST_STEP, START

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from steno.capture.inprocess.feed import Feed
    from steno.capture.output.capture import Capture
    from steno.capture.recorder import Recorder
    from steno.capture.report import Reporter
    from steno.capture.start.attempt import Place
    from steno.capture.start.launcher import Launch
    from steno.destinations.registry import Spec

_ARRAYS: Final = ("summary", "list", "histogram")
_MODES: Final = ("on", "off")
_MADE_SECS: Final = 5.0
_CAPTURE: Final = ("both", "stdout", "stderr")
_SYSTEM_SECS: Final = 10.0
_LEAST_SYSTEM_SECS: Final = 0.1
_MOST_SYSTEM_SECS: Final = 86_400
_SYSTEM_PACKAGES: Final = {"psutil": "psutil", "pynvml": "nvidia-ml-py"}
_OFF: Final = frozenset({"off", "0", "false", "no"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What `init` was asked for, checked."""

    root: Path
    project: str
    name: str | None
    config: dict[str, Any]
    destinations: tuple[Spec, ...]
    resume: bool | None
    rewind: int | None
    launch: Launch
    tags: tuple[str, ...]
    notes: str
    group: str | None
    mode: str
    strict: bool
    arrays: str
    device_full: str
    collector: bool
    linger_secs: float | None
    journal_dir: Path | None
    version: str
    capture: str | None = None
    system_secs: float | None = None
    stores: Mapping[str, str] = field(default_factory=dict)
    """Object stores by role, "store" and "artifacts"."""


@dataclass(slots=True)
class Begun:
    """A run as this process records into it: identity, recorder, feeds, watchdog."""

    dir: Path
    id: str
    name: str
    project: str
    rank: int
    attempt: int
    config: dict[str, Any]
    recorder: Recorder | Nothing
    watchdog: Watchdog
    strict: bool = False
    primary: bool = True
    feeds: list[Feed] = field(default_factory=list)
    run: Any = None
    """The run as the user holds it, which is made last."""
    output: Capture | None = None
    _exported: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def made(self) -> Any:
        """The user's run; a destination's thread may be ahead of `init`, and waits for it a moment."""
        deadline = time.monotonic() + _MADE_SECS
        while self.run is None:
            if time.monotonic() >= deadline:
                msg = "the run did not come about"
                raise ClosedError(msg)
            time.sleep(0.001)
        return self.run

    def export(self, values: Mapping[str, str]) -> None:
        """Set environment variables for children until `restore`."""
        for name, value in values.items():
            self._exported[name] = (value, os.environ.get(name))
            os.environ[name] = value

    def restore(self) -> None:
        """Put the environment back, where nobody has changed it since."""
        for name, (ours, before) in self._exported.items():
            if os.environ.get(name) == ours:
                if before is None:
                    del os.environ[name]
                else:
                    os.environ[name] = before
        self._exported.clear()

    def unhear(self) -> None:
        """What is printed from now on is not recorded."""
        if self.output is not None:
            self.output.close()

    def abandon(self) -> None:
        """In a forked child: feeds and collector are the parent's."""
        self.feeds = []
        self.primary = False
        self.watchdog.abandon()


# -- checking -----------------------------------------------------------------------------------------


def check(
    *,
    project: Any,
    name: Any,
    config: dict[str, Any],
    dir: Any,
    destinations: Any,
    resume: Any,
    rewind: Any,
    rank: Any,
    tags: Any,
    notes: Any,
    group: Any,
    mode: Any,
    strict: Any,
    arrays: Any,
    device_full: Any,
    collector: Any,
    linger: Any,
    journal_dir: Any,
    version: str,
    capture: Any = None,
    system_metrics: Any = None,
    store: Any = None,
    artifacts: Any = None,
) -> Wish:
    """The arguments of `init`, each refused with what, why and the remedy.

    Raises:
        UsageError: an argument or an environment variable cannot be used.
        DestinationError: an unknown or misconfigured destination.
    """
    naming.check(project, "project")
    launch = launcher.detect().with_rank(None if rank is None else _whole("rank", rank))
    if name is None:
        name = settings.read("STENO_RUN") or None
    if name is not None:
        naming.check(name)
    if resume is not None:
        if resume not in (True, False):
            raise UsageError(f"resume={resume!r}: True (go on with the run), False (it must be new) or None")
        resume = bool(resume)  # 1 and 0 too, as command lines give them
    if rewind is not None:
        rewind = _whole("rewind", rewind)
        if rewind > LAST_STEP:
            raise UsageError(f"rewind={rewind}: a step up to 2**62 is needed")
        if resume is False:
            raise UsageError("rewind goes on with a run that is there, so resume=False cannot be given with it")
    if (resume or rewind is not None) and name is None and not launch.job:
        asked = "rewind" if rewind is not None else "resume=True"
        raise UsageError(f"{asked} needs the run: pass name='...'")
    mode = _choice("mode", settings.read("STENO_MODE", "on") if mode is None else mode, _MODES)
    if linger is not None and (isinstance(linger, bool) or not isinstance(linger, int | float) or not linger >= 0):
        raise UsageError(f"linger={linger!r}: a number of seconds from 0 on is needed")
    if isinstance(tags, str):
        tags = (tags,)
    return Wish(
        root=Path(os.path.abspath(_path("dir", dir or settings.read("STENO_DIR", "runs")))),
        project=project,
        name=name,
        config=config,
        destinations=_specs(destinations) if mode == "on" else (),
        resume=resume,
        rewind=rewind,
        launch=launch,
        tags=tuple(str(tag) for tag in tags),
        notes=str(notes or ""),
        group=None if group is None else str(group),
        mode=mode,
        strict=bool(strict),
        arrays=_choice("arrays", arrays, _ARRAYS),
        device_full=_choice("device_full", device_full, FULL),
        collector=bool(collector) and settings.read("STENO_COLLECTOR").lower() not in _OFF,
        linger_secs=None if linger is None or math.isinf(linger) else float(linger),
        journal_dir=None if journal_dir is None else Path(os.path.abspath(_path("journal_dir", journal_dir))),
        capture=None if capture in (None, False) else _choice("capture", capture, _CAPTURE),
        system_secs=_system(system_metrics) if mode == "on" else None,
        version=version,
        stores=_stores(store=store, artifacts=artifacts) if mode == "on" else {},
    )


def _stores(**given: Any) -> dict[str, str]:
    asked = {role: url for role, url in given.items() if url is not None}
    if not asked:
        return {}
    from steno.objects import url as urls

    return {role: urls.check(role, url) for role, url in asked.items()}


def _whole(what: str, value: Any) -> int:
    try:
        number = value.__index__() if not isinstance(value, bool) else -1
    except (AttributeError, TypeError):
        number = -1
    if number < 0:
        raise UsageError(f"{what}={value!r}: an integer from 0 on is needed")
    return int(number)


def _choice(what: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"{what}={value!r} is not known: use {' or '.join(map(repr, allowed))}")
    return str(value)


def _path(what: str, value: Any) -> str:
    try:
        return os.path.expanduser(os.fsdecode(value))
    except TypeError:
        raise UsageError(f"{what}={value!r}: a path is needed") from None


def _system(every_secs: Any) -> float | None:
    """Seconds between two samples; the collector measures, but whoever asks is told here what it lacks."""
    if every_secs is None or every_secs is False:
        return None
    every_secs = _SYSTEM_SECS if every_secs is True else every_secs
    if not isinstance(every_secs, int | float) or not _LEAST_SYSTEM_SECS <= every_secs <= _MOST_SYSTEM_SECS:
        raise UsageError(
            f"system_metrics={every_secs!r}: a number of seconds from {_LEAST_SYSTEM_SECS} to {_MOST_SYSTEM_SECS} is "
            f"needed, or True for {_SYSTEM_SECS:.0f}"
        )
    from importlib.util import find_spec

    missing = [package for module, package in _SYSTEM_PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"system_metrics needs {' and '.join(missing)}, not installed here: pip install 'stenolog[system]'"
        )
    return float(every_secs)


def _specs(destinations: Iterable[Any] | str) -> tuple[Spec, ...]:
    if destinations is None or destinations == ():
        return ()
    from steno.destinations import registry

    if isinstance(destinations, str):
        destinations = [destinations]
    try:
        wanted = list(destinations)
    except TypeError:
        raise UsageError(
            f"destinations={destinations!r}: a list of names, pairs (name, options) or objects is needed"
        ) from None
    return tuple(registry.normalise(item) for item in wanted)


# -- beginning ----------------------------------------------------------------------------------------


def begin(wish: Wish, *, turn: int, report: Reporter) -> Begun:
    """Find or make the run and start recording.

    Raises:
        UsageError: the directory cannot be written, or `resume` and `rewind` do not fit what is there.
    """
    project_dir = wish.root / wish.project
    identity = describe_wish(wish)

    def write(run_dir: Path, name: str) -> None:
        write_json(run_dir / "run.json", {**identity(), "name": name}, sync=True)

    if wish.journal_dir is not None:
        _usable(wish.journal_dir)
    with attempt.exclusive(project_dir):
        try:
            place = attempt.settle(
                project_dir,
                wish.name or naming.of_job(wish.launch),
                wish.launch,
                resume=wish.resume,
                rewind=wish.rewind,
                turn=turn,
                describe=write,
                say=report,
            )
            about = _about(place, wish, write)
            _enter_destinations(place.dir, wish.destinations, report)
            _enter_system(place, wish.system_secs, report)
            uploading.enter(place.dir, wish.stores, report)
            # The lock is held until our journal's is: whoever comes next finds the run live.
            return _record(place, about, wish, report)
        except OSError as error:
            raise attempt.unwritable(project_dir, error) from error


def describe_wish(wish: Wish) -> Any:
    """A function that makes what `run.json` says; asked only by the process that makes the run."""

    def make() -> dict[str, Any]:
        from steno.capture.start.identity import Git

        git = Git()
        about = describe(
            id=naming.new_id(),
            project=wish.project,
            config=wish.config,
            tags=wish.tags,
            notes=wish.notes,
            group=wish.group,
            git=None,
            version=wish.version,
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
        raise UsageError(f"journals cannot be kept in {path}: {reason}. Pass another journal_dir=") from error


def _about(place: Place, wish: Wish, write: Any) -> dict[str, Any]:
    """The run's `run.json`, with what a new attempt adds to it."""
    path = place.dir / "run.json"
    about = load_json(path)
    if not about.get("id"):
        write(place.dir, place.name)
        about = load_json(path)
    if place.opened and not place.born and (wish.tags or wish.notes or wish.group):
        about["tags"] = list(dict.fromkeys([*about.get("tags", ()), *wish.tags]))
        about["notes"] = wish.notes or about.get("notes", "")
        about["group"] = wish.group or about.get("group")
        write_json(path, about, sync=True)
    return about


def _enter_destinations(run_dir: Path, specs: tuple[Spec, ...], report: Reporter) -> None:
    """Ask this run's collectors for destinations; one of the same name is asked for once."""
    for spec in specs:
        if spec.placement in {"console", "object"}:
            continue
        wanted = {"name": spec.name, "kind": spec.placement, "options": dict(spec.options)}
        path = run_dir / ".steno" / "destinations" / f"{spec.name}.json"
        if not write_once(path, wanted):
            there = load_json(path)
            if there.get("options", {}) != wanted["options"]:
                report(
                    f"destination {spec.name}",
                    f"the destination {spec.name!r} is there with other options ({there.get('options')}), which stay",
                )


def _enter_system(place: Place, every_secs: float | None, report: Reporter) -> None:
    """Ask this attempt's collectors for the machine's metrics; who opens the attempt decides."""
    path = place.dir / ".steno" / "system.json"
    if place.opened and not place.born:
        path.unlink(missing_ok=True)
    if every_secs is not None and not write_once(path, {"every_secs": every_secs}):
        there = load_json(path).get("every_secs")
        if there != every_secs:
            report("system", f"system_metrics={every_secs:g}: the run is measured every {there} seconds, which stays")


def _record(place: Place, about: dict[str, Any], wish: Wish, report: Reporter, *, export: bool = True) -> Begun:
    from steno.capture.recorder import Recorder

    watchdog = Watchdog(place.dir, linger_secs=wish.linger_secs, report=report, enabled=wish.collector)
    begun = Begun(
        dir=place.dir,
        id=str(about.get("id", "")),
        name=place.name,
        project=wish.project,
        rank=wish.launch.rank,
        attempt=place.attempt,
        config={**about.get("config", {}), **wish.config},
        recorder=Nothing(),
        watchdog=watchdog,
        strict=wish.strict,
    )
    if export:
        exported = {"STENO_RUN_DIR": str(place.dir), "STENO_RUN_AS": _as(begun, wish)}
        if wish.journal_dir is not None:
            exported["STENO_JOURNAL_DIR"] = str(wish.journal_dir)
        begun.export(exported)
    try:
        begun.recorder = recorder = Recorder(
            place.dir,
            run_id=begun.id,
            rank=begun.rank,
            attempt=begun.attempt,
            primary=True,
            arrays=wish.arrays,
            strict=wish.strict,
            report=report,
            watch=watchdog.watch,
            device_full=wish.device_full,
        )
    except BaseException:
        begun.restore()
        raise
    try:
        rewind = {} if place.rewind is None else {"rewind": place.rewind}
        recorder.entry(START, {**_start(begun, wish.launch.world_size), **rewind})
        if not place.born:
            _merge_config(begun, about.get("config", {}), wish.config, report)
        if place.opened:
            watchdog.start()
        if wish.capture is not None:
            from steno.capture.output.capture import Capture

            begun.output = Capture(recorder, wish.capture, report)
        feeding.start(begun, recorder, wish, about, report)
    except BaseException:
        begun.unhear()
        recorder.close()
        watchdog.release()
        begun.restore()
        raise
    return begun


def _as(begun: Begun, wish: Wish) -> str:
    return f"{begun.rank}:{begun.attempt}:{'on' if wish.collector else 'off'}:{wish.arrays}"


def _start(begun: Begun, world_size: int) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "rank": begun.rank,
        "world_size": world_size,
        "argv0": os.path.basename(sys.argv[0]) if sys.argv else "",
        "primary": begun.primary,
        "python": platform.python_version(),
    }


def _merge_config(begun: Begun, there: Mapping[str, Any], ours: Mapping[str, Any], report: Reporter) -> None:
    written = {key: mask(key, plain(value)) for key, value in ours.items()}
    changes = {key: value for key, value in written.items() if key not in there or there[key] != value}
    conflicts = [key for key in changes if key in there]
    if changes:
        begun.recorder.entry(CONFIG, changes)
    if conflicts:
        shown = ", ".join(f"{key}: {there[key]!r} → {changes[key]!r}" for key in conflicts[:5])
        report("config", f"the run {begun.name!r} has another configuration; the new values hold ({shown})")


# -- the other ways in ----------------------------------------------------------------------------------


def nothing(wish: Wish, report: Reporter) -> Begun:
    """A run under `mode="off"`: the same API, no file, no thread."""
    name = wish.name or naming.of_job(wish.launch)
    place = wish.root / wish.project / name
    watchdog = Watchdog(place, linger_secs=None, report=report, enabled=False)
    return Begun(
        dir=place,
        id=naming.new_id(),
        name=name,
        project=wish.project,
        rank=wish.launch.rank,
        attempt=1,
        config=dict(wish.config),
        recorder=Nothing(),
        watchdog=watchdog,
    )


def join(report: Reporter) -> Begun | None:
    """In a child that multiprocessing started: record into the run that its parent exported.

    Returns:
        None: this is no such child, or there is no such run any more.
    """
    processes = sys.modules.get("multiprocessing.process")
    run_dir = Path(settings.read("STENO_RUN_DIR") or os.devnull)
    if processes is None or processes.parent_process() is None:
        return None
    about = load_json(run_dir / "run.json")
    if not about.get("id"):
        return None
    from steno.capture.recorder import Recorder

    rank, number, collector, arrays = (settings.read("STENO_RUN_AS", "0:1:on:summary").split(":") + [""] * 3)[:4]
    watchdog = Watchdog(run_dir, linger_secs=None, report=report, enabled=collector != "off")
    try:
        recorder = Recorder(
            run_dir,
            run_id=str(about["id"]),
            rank=int(rank),
            attempt=int(number),
            primary=False,
            arrays=arrays or "summary",
            report=report,
            watch=watchdog.watch,
        )
    except (OSError, ValueError) as error:
        report("join", f"this process cannot record into {run_dir}: {error}")
        return None
    begun = Begun(
        dir=run_dir,
        id=str(about["id"]),
        name=str(about.get("name", run_dir.name)),
        project=str(about.get("project", "")),
        rank=int(rank),
        attempt=int(number),
        config=dict(about.get("config", {})),
        recorder=recorder,
        watchdog=watchdog,
        primary=False,
    )
    recorder.entry(START, _start(begun, 1))
    return begun
