"""The run as the program holds it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from steno.capture.artifacts.handles import nothing
from steno.capture.artifacts.recording import ArtifactLog  # not at the first call, which a signal handler may interrupt
from steno.capture.collected import status
from steno.capture.config import JournalledMapping
from steno.capture.lifecycle import how, is_in_term_handler
from steno.capture.nothing import Nothing
from steno.capture.open_runs import END_SECS, RUNS
from steno.capture.plain import written
from steno.capture.start import others
from steno.capture.stepping import next_step
from steno.errors import ClosedError, safe_repr
from steno.habits import MODULE, RUN, Absent, missing, rename
from steno.record import CONFIG, EVENT, SUMMARY
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path
    from types import TracebackType

    from steno.capture.artifacts.handles import ArtifactHandle
    from steno.capture.ending import Ending
    from steno.capture.tasks.register import Register

VERSION: Final = "0.1.0"

Level = int | str | None


class _Shown(type):
    """Shows `Run.log` as the method that it reads like, with its signature and text.

    Each run binds its own in a slot, so that nothing stands between a call and the journal; a function of that name
    in the class would be in the way.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> _Shown:
        if "log" in space:
            space["_log"] = space.pop("log")
        return super().__new__(cls, name, bases, space)

    _log: Callable[..., None]

    @property
    def log(cls) -> Callable[..., None]:
        """The method as it is read: a run's own is called by `run.log`."""
        return cls._log

    def __dir__(cls) -> list[str]:
        # What other loggers have and a run has not is answered, not listed.
        return [name for name in super().__dir__() if name not in RUN]


class Run(metaclass=_Shown):
    """A run being recorded, as `steno.init` returns it.

    Thread-safe; a forked child goes on logging into the run under a journal of its own. After `log` or
    `event` has returned, their host values outlive the process; power loss may take the last second.
    Neither raises after `init`, unless `strict=True`: a bad value is reported once, its neighbours are kept.
    Use it as a context manager to have an exception recorded as the run's failure.
    """

    __slots__ = (
        "__weakref__", "_config", "_ending", "_report", "_started", "_summary", "log",
    )  # fmt: skip

    def log(
        self, data: Mapping[str, Any], step: int | None = None, *, level: Level = None, arrays: str | None = None
    ) -> None:
        """Record a dict of values at a step. It waits for nothing, no disk, device or other process.

        Args:
            data: numbers, texts, arrays and lists of numbers, media, tensors on any device; nested dicts flatten
                with "/". Arrays and media are copied before it returns, so they may change afterwards.
            step: a whole number; None: the run's next automatic step.
            level: a `steno.LogLevel`, its number or its name.
            arrays: "summary", "list" or "histogram": how this call's arrays are kept; None: as `init` says.

        Raises:
            RecordError: a value or step cannot be recorded, under `strict=True`; otherwise that is reported once per
                key and counted in `health()["reported"]`, and the other values are kept.

        Thread-safe, and safe in signal handlers; a forked child logs into a journal of its own. When it has returned,
        the host values survive the death of the process; power loss may take the last second.
        """

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._started = started = ending.started
        self._report = ending.report
        ending.run = started.run = self
        # Bound, not defined: a call goes from here straight into the closure that `build` makes in
        # journal/hot_path.py, by way of `Recorder.log`. That is the hot path.
        self.log = started.recorder.log  # type: ignore[method-assign]
        self._config = JournalledMapping(started.config, lambda changes: self._record(CONFIG, written(changes)))
        self._summary = JournalledMapping({}, lambda changes: self._record(SUMMARY, written(changes)))

    @property
    def config(self) -> JournalledMapping:
        """The configuration; `config["lr"] = 0.1` and `config.lr = 0.1` are journalled.

        Secrets are masked in what is written, by their keys.
        """
        return self._config

    @property
    def summary(self) -> JournalledMapping:
        """Values of the user's that stand for the run, set as those of `config` are.

        Readers compute last, min and max of every key themselves.
        """
        return self._summary

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)) - set(RUN))

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def dir(self) -> Path:
        """The run's directory, absolute."""
        return self._started.dir

    @property
    def id(self) -> str:
        """The run's identity, 26 characters; the same in all its processes."""
        return self._started.id

    @property
    def name(self) -> str:
        """The run's name in its project, which may have got a suffix."""
        return self._started.name

    @property
    def project(self) -> str:
        """The project that the run is kept under."""
        return self._started.project

    @property
    def rank(self) -> int:
        """This process's index in its job."""
        return self._started.rank

    @property
    def attempt(self) -> int:
        """Which start of the run this is, from 1."""
        return self._started.attempt

    @property
    def ended(self) -> bool:
        """Whether it takes no more records in this process: after `finish`, and while it is at work."""
        return self._ending.ended is not None

    @property
    def step(self) -> int:
        """The next automatic step, as far as this process knows.

        An approximation: the collector numbers automatic steps as it posts. Counted are what it said last,
        at most a second ago, and what this process has logged since; what others logged since is missing.
        """
        return next_step(self._started.recorder, self.dir)

    def __repr__(self) -> str:
        own = f"steno.Run {self.project}/{self.name} rank {self.rank}"
        if isinstance(self._started.recorder, Nothing):
            return f"<{own}, off: it records nothing>"
        return f"<{own}, {'recording' if self._ending.ended is None else 'finished'}, in {self.dir}>"

    def health(self) -> dict[str, Any]:
        """Counts that tell whether recording goes well: reports, drops, feeds, collector, uploads, tasks and more.

        Returns:
            A new dict of plain values; the collector's are as fresh as its status file, a second or so.

        Thread-safe. It reads a file, so it may wait for a disk: call it now and then, not at each step.
        """
        started = self._started
        current = status(self.dir)
        recorded = started.recorder.health()
        return {
            **recorded,
            "reported": {**self._report.counts, **recorded.get("reported", {})},
            "feeds": {feed.name: feed.courier.health() for feed in started.feeds},
            "output": {} if started.output is None else started.output.health(),
            "collector": {
                "enabled": started.watchdog.enabled,
                "alive": started.watchdog.alive(),
                "pid": started.watchdog.pid,
                "deaths": started.watchdog.deaths,
            },
            "destinations": current.get("destinations") or {},
            "uploads": current.get("uploads") or {},
            "tasks": {} if self._ending.tasks is None else self._ending.tasks.health(),
            "artifacts": {} if self._ending.artifacts is None else self._ending.artifacts.health(),
        }

    # -- recording ------------------------------------------------------------------------------------

    def event(self, name: str, /, *, step: int | None = None, **payload: Any) -> None:
        """Record that something happened: a name (or a `steno.Event`) and what belongs to it.

        `steno.Event`s are handed to the run's callbacks and logger destinations, on their threads. The counts that
        come with one (`batch=`, `epoch=`, `sample=`, `token=`; `samples=`, `tokens=` of a batch) say where the loop
        stands.

        Args:
            name: what happened.
            step: the step it belongs to.
            payload: plain data; what is still on a device is recorded as a remark, and not waited for.

        Raises:
            RecordError: the payload cannot be recorded, under `strict=True`.

        Thread-safe; a forked child records into a journal of its own, and no callback is called there. When it has
        returned, the event survives the death of the process; power loss may take the last second.
        """
        try:
            label = getattr(name, "value", name)
            self._started.position.take(str(label), payload)
            self._record(EVENT, {**written(payload), "name": escaped(str(label))}, step)
        except Exception as error:
            if self._started.strict:
                raise
            self._report("event", f"the event {safe_repr(name)} was not recorded: {safe_repr(error)}")

    @others.refusing
    def log_artifact(
        self,
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
        """Keep a file or a directory with the run, as it is now; after the call it may change or vanish.

        Args:
            path: the file or directory.
            name: what the run calls it; None: its own name. Fields {run_name} {rank} {local_rank} {world_size}
                {local_world_size} {node_rank} {step} {epoch} {batch} are filled in, with a format if need be
                ({step:06d}); `{{step}}` is the text `{step}`; other braces stand for themselves. {epoch} and {batch}
                are what the last `event` gave, or what its `steno.Event`s have come to.
            overwrite: a new version of an artifact that has this name already; the last one is what the name
                means, the others stay reachable by digest.
            link: an alias that stands for this artifact as soon as it is complete.
            snapshot: "auto": by reflink where the file system can, else copied before this returns. "reflink",
                "copy". "link": a hard link, for files that are replaced and never rewritten.
            step: the step it belongs to, and the value of {step}.
            level: importance, as for `log`: a `steno.LogLevel`, its number or its name.
            metadata: plain data that readers get.

        Returns:
            A handle that says what came of it; it need not be kept.

        Raises:
            FileNotFoundError, PermissionError: `path` cannot be read.
            FileExistsError: the name is known to be taken, and `overwrite` is not given.
            UsageError: a name or another argument cannot be used.
            ClosedError: after `finish`.

        A full disk raises nothing: the handle has the error, it is said once and counted in `health()`.
        Thread-safe; a forked child logs its own. Killed during the call, the process leaves nothing behind;
        killed after it, a complete artifact.
        """
        artifacts = self._take_artifacts()
        if artifacts is None:
            return nothing(name or os.path.basename(os.path.abspath(os.fspath(path))), step)
        return artifacts.log(
            path, name, overwrite=overwrite, link=link, snapshot=snapshot, step=step, level=level,
            metadata=metadata,
        )  # fmt: skip

    def link_artifact(
        self, existing: str, alias: str, overwrite: bool = True, *, step: int | None = None, level: Level = None
    ) -> ArtifactHandle:
        """Let `alias` stand for the artifact `existing`, from when that is complete; readers follow it.

        Args:
            existing, alias: names, with fields as for `log_artifact`. An alias may stand for an alias.
            overwrite: False: the alias must be new.
            step, level: as for `log_artifact`.

        Returns:
            A handle; its `error` is FileNotFoundError where there turns out to be no artifact of that name.

        Raises:
            FileNotFoundError: there is no such artifact, and nobody else could have logged it.
            FileExistsError: as for `log_artifact`.
            UsageError: the alias would stand for itself; a name cannot be used.
            ClosedError: after `finish`.

        Thread-safe; a forked child links its own. When it has returned, the link survives the death of the process.
        """
        artifacts = self._take_artifacts()
        if artifacts is None:
            return nothing(alias, step)
        return artifacts.link(existing, alias, overwrite=overwrite, step=step, level=level)

    def _take_artifacts(self) -> ArtifactLog | None:
        """This process's artifacts; None in a run that records nothing."""
        with RUNS.lock:
            if self._ending.is_closed:
                msg = f"{self._ending.refusal('log_artifact')}: the run takes no more; call steno.init for a new one"
                raise ClosedError(msg)
            recorder = self._started.recorder
            if self._ending.artifacts is None and not isinstance(recorder, Nothing):
                self._ending.artifacts = ArtifactLog(self._started, recorder, self._report)
            return self._ending.artifacts

    def async_log(
        self,
        func: Callable[..., Mapping[str, Any]],
        /,
        *args: Any,
        step: int | None = None,
        mode: str = "threading",
        step_at: str = "complete",
        **kwargs: Any,
    ) -> Future[Any]:
        """Run `func(*args, **kwargs)` elsewhere and record the dict that it returns.

        Args:
            func: what to run; anything but step, mode and step_at reaches it. One that has a parameter of
                such a name gets it by `functools.partial`.
            step: of the record; None: the run's next automatic step.
            mode: "threading": a daemon thread, any objects. "asyncio": a coroutine function, on the running
                loop. "spawn": a warm child process; function and arguments are pickled at the call.
                "fork": a child forked at the call, with everything as it is then.
            step_at: "complete" numbers the record when the task ends, "submit" keeps its place at the call.

        Returns:
            Resolves when the value is in the journal, with what `func` returned, or with its error.

        Raises:
            ClosedError: after `finish`.
            RuntimeError: mode "asyncio" where no loop runs.
            ValueError, TypeError: an unknown mode, or no function.

        Thread-safe. A forked child has none of its parent's tasks and may submit its own. If the process dies, tasks
        that have not returned are lost, and their records with them.
        """
        tasks = self._ending.tasks
        if tasks is None:
            tasks = self._take_tasks()
        return tasks.async_log(func, *args, step=step, mode=mode, step_at=step_at, **kwargs)

    def _take_tasks(self) -> Register:
        from steno.capture.tasks import uninterrupted

        register = uninterrupted.import_module("steno.capture.tasks.register")
        with RUNS.lock:
            if self._ending.ended is not None:
                msg = f"{self._ending.refusal('async_log')}: the run takes no more tasks; call steno.init for a new one"
                raise ClosedError(msg)
            if self._ending.tasks is None:
                child_log = (
                    ("steno", "log") if self._started.id and hasattr(self._started.recorder, "add") else ("", "")
                )
                self._ending.tasks = register.Register(
                    self._started.recorder, report=self._report, settings=self._started.settings, child_log=child_log
                )
            return self._ending.tasks

    def _record(self, kind: str, payload: dict[str, Any], step: int | None = None) -> None:
        self._started.recorder.entry(kind, payload, step)

    # -- the end --------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None, *, files: bool = False) -> bool:
        """Wait until what this process logged before the call is readable by another process.

        Args:
            timeout: seconds; None waits as long as a collector is at work.
            files: wait until it is in the files of steno's own destinations too: TensorBoard's, csv, jsonl, text.

        Returns:
            False: not within the time, or there is no collector; it stays in the journal.

        Thread-safe: it waits for what all threads of this process have logged, in a forked child for what the child
        has logged. If the process dies meanwhile, only values that are still on a device are lost.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        return self._ending.posted(deadline) and (not files or self._ending.delivered(deadline))

    @others.understanding
    def finish(
        self,
        timeout: float | str | None = None,
        error: object = None,
        async_log_timeout: float | None = None,
        *,
        state: str | None = None,
    ) -> bool:
        """End the recording: wait for tasks, then posting and destinations, then close.

        After two seconds a line says what is outstanding and who has to do it, and so does each False.
        Ctrl-C ends the wait.

        Args:
            timeout: seconds in all. None: as long as `async_log` tasks take, then at most 30 seconds, until all that
                this process has logged can be read and is in the files of steno's own destinations, artifacts and
                media too. Object stores and destinations with a process of their own get 2 seconds more; a destination
                object gets 2 seconds after its last sign of life. In a handler of SIGTERM, and when the interpreter
                is going down, 2 seconds in all. What is not delivered by then stays on disk: the collector, which
                outlives this process, or `steno sync` delivers it.
            error: what went wrong; the run is `failed` then.
            async_log_timeout: seconds for `async_log` tasks alone.
            state: "success", "crashed" or "aborted", SwanLab's words, which may stand in the timeout's place.

        Returns:
            True: all is posted and delivered, and in the object stores that were asked for; each media value has its
            file; no task was abandoned. A second call returns the same.

        Raises:
            RuntimeError: called by a task, which finish would have to wait for.
            UsageError: another state, or a timeout that is no number.

        Thread-safe: one call ends the run, others wait for it. A forked child ends its own recording alone; the run
        goes on in its parent. If the process dies meanwhile, running tasks and values that are still on a device are
        lost, and destination objects lack what they had not been given; the run has the rest.
        """
        end, why, seconds = others.end_of(timeout, error, state)
        tasks, left = self._ending.tasks, []
        if async_log_timeout is not None and tasks is not None and not tasks.calls():
            left = tasks.close(async_log_timeout)
        return self._ending.end(end, why, timeout=seconds) and not left

    async def afinish(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - finish's own bound, kept by it
        """`finish` for a coroutine: the event loop, and the tasks on it, go on meanwhile.

        Args:
            timeout: seconds in all, as for `finish`.

        Returns:
            True: all is posted and delivered, as for `finish`.

        What `finish` says of threads, forks and the death of the process holds here too.
        """
        import asyncio
        from concurrent.futures import Future

        future: Future[bool] = Future()
        future.set_running_or_notify_cancel()

        def end() -> None:
            try:
                future.set_result(self.finish(timeout))
            except BaseException as error:
                future.set_exception(error)

        # A daemon thread of our own: an executor's would be joined at the interpreter's exit.
        threading.Thread(target=end, name="steno-finish", daemon=True).start()
        try:
            return await asyncio.wrap_future(future)
        finally:
            RUNS.unhook()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state, why = how(error, trace)
        hurried = isinstance(error, KeyboardInterrupt) or (trace is not None and is_in_term_handler(trace))
        timeout = END_SECS if hurried else None
        # Who wanted no collector need not be told by each block that nothing is posted.
        self._ending.end(state, why, timeout, announce=self._started.watchdog.enabled)


for _name in RUN:
    setattr(Run, _name, Absent(_name))
setattr(Run, "name", vars(Run)["name"].setter(rename))  # noqa: B010 - for type checkers it has none


def __getattr__(name: str) -> Any:
    # `wandb.run` is W&B's current run; this module is found under that name.
    raise AttributeError(missing("module 'steno.run'", name, dict.fromkeys(dir(Run), MODULE["run"])))
