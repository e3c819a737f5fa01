"""What a program calls at module level: `init`, and the functions that act on the current run."""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from steno import next_steps
from steno.capture.config import Borrowed, as_config
from steno.capture.ending import Ending
from steno.capture.late.device_queue import conceal
from steno.capture.open_runs import RUNS
from steno.capture.report import Reporter, is_terminal, show
from steno.capture.start import beginning, others
from steno.capture.start import request as requests
from steno.capture.tasks.guard import refuse_import
from steno.errors import NoRunError, UsageError
from steno.run import VERSION, Level, Run
from steno.settings import Settings, refuse_unknown, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from steno.capture.artifacts.handles import ArtifactHandle
    from steno.capture.open_runs import OpenRun
    from steno.capture.start.request import Request

_P = ParamSpec("_P")
_turns: dict[tuple[Path, str, str], int] = {}
_FINISH, _NEW, _PREVIOUS, _ADDITIONAL = _WAYS = ("finish_previous", "create_new", "return_previous", "additional")
"""What `init` does about the current run; a logger's run stands next to it, or is the current one if there is none."""


def _settings_by_name(init: Callable[_P, Run]) -> Callable[_P, Run]:
    """Have `init` take each setting by its own name as well, and other loggers' words; a name that is none of them is
    refused with the nearest that it knows."""
    settings = {one.name for one in fields(Settings)}
    known = {*init.__code__.co_varnames[: init.__code__.co_argcount + init.__code__.co_kwonlyargcount], *settings}

    @functools.wraps(init)
    def checked(*arguments: _P.args, **named: _P.kwargs) -> Run:
        ours: Any = others.translated(named)
        refuse_unknown("steno.init", ours, known)
        more = {name: ours.pop(name) for name in settings & ours.keys()}
        if more:
            ours["settings"] = taken(ours.get("settings"), more)
        return init(*arguments, **ours)

    return checked


@_settings_by_name
def init(
    project: str = "default",
    name: str | None = None,
    config: Any = None,
    dir: str | os.PathLike[str] | None = None,
    destinations: Iterable[Any] = (),
    *,
    settings: Settings | Mapping[str, Any] | None = None,
    resume: bool | Literal["allow", "must", "never"] | None = None,
    rewind: int | None = None,
    reinit: bool | Literal["finish_previous", "create_new", "return_previous"] | None = None,
    tags: Iterable[str] = (),
    notes: str = "",
    group: str | None = None,
    mode: str | None = None,
    strict: bool = False,
    arrays: str = "summary",
    capture: str | None = None,
    system_metrics: float | None = None,
    store: str | None = None,
) -> Run:
    """Begin, join or continue a run, and make it the current one.

    Args:
        project: directory under `dir` that the run is kept in.
        name: the run's name. None: under a launcher the job's, so that all ranks meet, else time and words.
            A run of this name is joined while it is live; if it has ended, the new run is called `name-2`.
        config: mapping, dataclass or argparse.Namespace.
        dir: where projects are kept; None: STENO_DIR or "runs".
        destinations: names ("tensorboard", "csv", "jsonl", "text", "console", "wandb", "mlflow", "swanlab", "trackio"),
            pairs (name, options), or objects: with the methods open, write, flush and close, or a
            `steno.LoggerDestination` or `steno.Callback`.
        settings: a `steno.Settings` with what experts set: the collector, journals, device values, `async_log`, this
            process's rank. A setting may be given by its own name too, as `init(linger=10)`. None: the environment's.
        resume: "allow": the run is continued if it is there, else started. "must" or True: it must be there and is
            continued. "never" or False: it must not be there. With `store` one that is only there is continued too.
        rewind: continue the run from this step: earlier points from it on are hidden, and kept.
        reinit: what becomes of this process's current run. None, "finish_previous" or True: it is finished first, which
            a line says. "create_new": it goes on and stays the current one; log into the run that `init` returns.
            "return_previous" or False: it is returned, and no run is started.
        tags, notes, group: for people.
        mode: "on", or "off": the same API, nothing recorded; None: STENO_MODE or "on".
        strict: raise RecordError for what cannot be recorded; for tests.
        arrays: what becomes of arrays and lists above 16 elements: "summary", "list" or "histogram".
        capture: "stdout", "stderr" or "both": record the lines that the program prints there, until `finish`.
        system_metrics: seconds between two samples of CPU, memory, disk, network and NVIDIA GPUs, which the
            collector takes and records under "system/"; True: 10. What it has no package for is left out, and said:
            `pip install 'stenolog[system]'`.
        store: URL of an object store, "s3://bucket/prefix", in which the collector keeps the run as well, at
            `<store>/<project>/<name>`; `steno.open` reads it there. Credentials are the environment's.

    Returns:
        The run; `steno.log` and its kin record into it.

    Raises:
        UsageError: an argument, a setting, an environment variable or the directory cannot be used.
        RunNotFoundError: `resume="must"`, or `rewind` without `resume="allow"`, and there is no such run.
        RunExistsError: `resume="never"`, and the run is there.
        StenoError: the run to be continued is not on this disk, and `store` does not answer within 10 s.
        DestinationError: an unknown or misconfigured destination.

    Thread-safe. In a forked child it leaves the parent's run alone. If the process dies during the call, a run
    without records may be left.
    """
    refuse_import("steno.init")
    request = requests.check(
        project=project, name=name, config=as_config(config), dir=dir, destinations=destinations, settings=settings,
        resume=resume, rewind=rewind, tags=tags, notes=notes, group=group, mode=mode, strict=strict, arrays=arrays,
        capture=capture, system_metrics=system_metrics, store=store, version=VERSION,
    )  # fmt: skip
    way = _way(reinit)
    while True:
        with RUNS.beginning:
            before = RUNS.current
            if before is not None and before.owner != os.getpid():
                before = None  # a forked child's parent goes on with it
            if before is None or way in {_NEW, _ADDITIONAL}:
                return _begin(request, additional=way == _NEW or before is not None)
        if way == _PREVIOUS:
            previous: Run = before.run
            return previous
        if request.mode == "on":
            before.replace()
        before.end("finished")
        RUNS.leave(before)


def _way(reinit: Any) -> str:
    for given, way in ((None, _FINISH), (True, _FINISH), (False, _PREVIOUS), *((one, one) for one in _WAYS)):
        if reinit == given:
            return way
    known = ", ".join(map(repr, _WAYS[:3]))
    raise UsageError(f"reinit={reinit!r}: {known}, True, False or None is needed")


def init_additional(**arguments: Any) -> Run:
    """`init`, by its keywords, without touching the current run; the new one becomes current if there is none."""
    return init(**{"reinit": _ADDITIONAL, **arguments})


def _begin(request: Request, *, additional: bool = False) -> Run:
    report = Reporter()
    if request.mode == "off":
        started = beginning.nothing(request, report)
    else:
        key = (request.root, request.project, request.name or "")
        _turns[key] = _turns.get(key, 0) + 1
        started = beginning.begin(request, turn=_turns[key], report=report)
    ending = Ending(started, report)
    run = Run(ending)
    if additional:
        # Children of multiprocessing join the current run, not this one.
        started.restore()
    _enter(ending, current=not additional, hooks=request.mode == "on")
    ending.is_shown = request.mode == "on" and not request.settings.quiet and started.rank == 0 and is_terminal()
    if ending.is_shown:
        for line in next_steps.beginning(started.name, started.project, started.dir):
            show(f"steno: {line}")
    return run


def _enter(ending: Ending, *, current: bool = True, **how: bool) -> None:
    global _log
    RUNS.enter(ending, current=current, **how)
    if current:
        _log = ending.run.log


def current() -> Run | None:
    """The run that `steno.log` records into, or None.

    Returns:
        The run, None: there was no `init`, or the run is finished.
    """
    return None if RUNS.current is None else RUNS.current.run


def _needed(what: str) -> Run:
    one = RUNS.current or RUNS.last or _join()
    if one is None:
        msg = f"steno.{what} needs a run: call steno.init(...) first"
        raise NoRunError(msg)
    run: Run = one.run
    return run


def _join() -> OpenRun | None:
    """The parent's run, in a child that multiprocessing has started; None elsewhere."""
    with RUNS.beginning:
        if RUNS.current is None and RUNS.last is None:
            report = Reporter()
            started = beginning.join(report)
            if started is not None:
                ending = Ending(started, report)
                Run(ending)
                _enter(ending, term=False, joined=True)
        return RUNS.current


def _first_log(data: Any, step: Any = None, level: Any = None, arrays: Any = None, commit: Any = None) -> None:
    log: Any = _needed("log").log
    log(data, step, level, arrays, commit)


_log: Any = _first_log


def log(
    data: Mapping[str, Any],
    step: int | None = None,
    level: Level = None,
    arrays: str | None = None,
    commit: None = None,
) -> None:
    """`Run.log` of the current run. A multiprocessing child of a run joins it by its first call.

    `commit` is for programs that come from W&B: it means nothing here, and is reported once.

    Raises:
        NoRunError: there was no `init`.
    """
    _log(data, step, level, arrays, commit)


conceal(log)


def event(name: str, /, *, step: int | None = None, **payload: Any) -> None:
    """`Run.event` of the current run.

    Raises:
        NoRunError: there was no `init`.
    """
    _needed("event").event(name, step=step, **payload)


def async_log(
    func: Callable[..., Mapping[str, Any]],
    /,
    *args: Any,
    step: int | None = None,
    mode: str = "threading",
    step_at: str = "complete",
    **kwargs: Any,
) -> Future[Any]:
    """`Run.async_log` of the current run.

    Raises:
        NoRunError: there was no `init`.
    """
    return _needed("async_log").async_log(func, *args, step=step, mode=mode, step_at=step_at, **kwargs)


@others.refusing
def log_artifact(
    path: str | os.PathLike[str],
    name: str | None = None,
    overwrite: bool = False,
    link: str | None = None,
    *,
    snapshot: str = "auto",
    step: int | None = None,
    level: Level = None,
    metadata: Mapping[str, Any] | None = None,
) -> ArtifactHandle:
    """`Run.log_artifact` of the current run.

    Raises:
        NoRunError: there was no `init`.
    """
    return _needed("log_artifact").log_artifact(
        path, name, overwrite, link, snapshot=snapshot, step=step, level=level, metadata=metadata
    )


def link_artifact(
    existing: str, alias: str, overwrite: bool = True, *, step: int | None = None, level: Level = None
) -> ArtifactHandle:
    """`Run.link_artifact` of the current run.

    Raises:
        NoRunError: there was no `init`.
    """
    return _needed("link_artifact").link_artifact(existing, alias, overwrite, step=step, level=level)


def flush(timeout: float | None = None, *, files: bool = False) -> bool:
    """`Run.flush` of the current run.

    Raises:
        NoRunError: there was no `init`.
    """
    return _needed("flush").flush(timeout, files=files)


@others.understanding
def finish(
    timeout: float | str | None = None,
    error: object = None,
    async_log_timeout: float | None = None,
    *,
    state: str | None = None,
) -> bool:
    """`Run.finish` of the current run; after it, the same answer again. Without a run a warning, and True."""
    try:
        run = _needed("finish")
    except NoRunError as missing:
        # `finally: steno.finish()` behind an `init` that has failed must not hide why.
        warnings.warn(str(missing), RuntimeWarning, stacklevel=3)
        return True
    return run.finish(timeout, error, async_log_timeout, state=state)


config: Borrowed = Borrowed(lambda: _needed("config").config)
summary: Borrowed = Borrowed(lambda: _needed("summary").summary)
