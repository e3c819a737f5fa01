"""The run as the program holds it."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from steno.capture.artifacts.handles import nothing
from steno.capture.artifacts.recording import Artifacts  # not at the first call, which a signal handler may interrupt
from steno.capture.collected import hurry, is_hopeless, lacking, status
from steno.capture.config import Journalled, mask, plain
from steno.capture.lifecycle import explain
from steno.capture.nothing import Nothing
from steno.capture.start import uploading
from steno.capture.start.watchdog import is_running
from steno.capture.stepping import next_step
from steno.errors import ClosedError
from steno.record import CONFIG, EVENT, FINISH, SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from concurrent.futures import Future
    from pathlib import Path
    from types import TracebackType

    from steno.capture.artifacts.handles import ArtifactHandle
    from steno.capture.report import Reporter
    from steno.capture.start.started import StartedRun
    from steno.capture.tasks.options import Options
    from steno.capture.tasks.register import Register

VERSION: Final = "0.1.0"
END_SECS: Final = 2.0
_POSTING_SECS: Final = 0.5
_SLICE_SECS: Final = 0.1
_CLOSE_SECS: Final = 0.1
_POLL_SECS: Final = 0.01


_lock = threading.RLock()
"""Guards the making of a run's task register and artifacts."""


Level = int | str | None


class Log(Protocol):
    """`run.log(data, step=None, *, level=None, arrays=None)`."""

    def __call__(
        self, data: Mapping[str, Any], step: int | None = None, *, level: Level = None, arrays: str | None = None
    ) -> None:
        """Record what happens at this step."""


class Run:
    """A run being recorded, as `steno.init` returns it.

    Thread-safe; a forked child goes on logging into the run under a journal of its own. After `log` or
    `event` has returned, their host values outlive the process; power loss may take the last second.
    Neither raises after `init`, unless `strict=True`: a bad value is reported once, its neighbours are kept.
    Use it as a context manager to have an exception recorded as the run's failure.
    """

    __slots__ = (
        "__weakref__", "_artifacts", "_async_options", "_ended", "_ending", "_is_closed", "_left", "_owner",
        "_position", "_report", "_started", "_tasks", "config", "log", "summary",
    )  # fmt: skip

    log: Log
    """Record a dict of values: numbers, strings, arrays and lists of numbers; nested dicts flatten with "/".

    `step` is an int, or None for the run's next automatic step. `level` is a `steno.LogLevel`, its number or its name;
    `arrays` is "summary", "list" or "histogram" for this call.
    """
    config: MutableMapping[str, Any]
    """The configuration; assignments are journalled. Secrets are masked in what is written, by their keys."""
    summary: MutableMapping[str, Any]
    """Values of the user's that stand for the run; last, min and max of every key are computed when read."""

    def __init__(
        self,
        started: StartedRun,
        report: Reporter,
        async_options: Options | None = None,
        *,
        left: Callable[[Run], None] = lambda _: None,
    ) -> None:
        self._started = started
        self._report = report
        self._async_options = async_options
        self._tasks: Register | None = None
        self._artifacts: Artifacts | None = None
        self._position: dict[str, Any] = {}
        self._left = left
        started.run = self
        self._owner = os.getpid()
        self._ending = threading.RLock()
        self._ended: bool | None = None
        self._is_closed = False
        """Nothing more is taken; what runs in this process may still log while the end goes on."""
        self.log = started.recorder.log
        self.config = Journalled(started.config, lambda changes: self._tell(CONFIG, masked(changes)))
        self.summary = Journalled({}, lambda changes: self._tell(SUMMARY, plain(changes)))

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
        return self._ended is not None

    @property
    def step(self) -> int:
        """The next automatic step, as far as this process knows.

        An approximation: the collector numbers automatic steps as it posts. Counted are what it said last,
        at most a second ago, and what this process has logged since; what others logged since is missing.
        """
        return next_step(self._started.recorder, self.dir)

    def __repr__(self) -> str:
        state = "recording" if self._ended is None else "finished"
        return f"<steno.Run {self.project}/{self.name} rank {self.rank}, {state}, in {self.dir}>"

    def health(self) -> dict[str, Any]:
        """Counts that tell whether recording goes well: reports, drops, feeds, collector, uploads, tasks and more."""
        started = self._started
        current = status(self.dir)
        return {
            **started.recorder.health(),
            "reported": dict(self._report.counts),
            "feeds": {feed.name: feed.health() for feed in started.feeds},
            "output": {} if started.output is None else started.output.health(),
            "collector": {
                "enabled": started.watchdog.enabled,
                "alive": started.watchdog.alive(),
                "deaths": started.watchdog.deaths,
            },
            "destinations": current.get("destinations") or {},
            "uploads": current.get("uploads") or {},
            "tasks": {} if self._tasks is None else self._tasks.health(),
            "artifacts": {} if self._artifacts is None else self._artifacts.health(),
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
        """
        try:
            label = getattr(name, "value", name)
            self._position.update((key, payload[key]) for key in ("epoch", "batch") if key in payload)
            self._tell(EVENT, {**plain(payload), "name": str(label)}, step)
        except Exception as error:
            if self._started.strict:
                raise
            self._report("event", f"the event {name!r} was not recorded: {error!r}")

    def log_artifact(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        overwrite: bool = False,
        link: str | None = None,
        *,
        snapshot: str = "auto",
        step: int | None = None,
        level: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ArtifactHandle:
        """Keep a file or a directory with the run, as it is now; after the call it may change or vanish.

        Args:
            path: the file or directory.
            name: what the run calls it; None: its own name. Fields {run_name} {rank} {local_rank} {world_size}
                {local_world_size} {node_rank} {step} {epoch} {batch} are filled in, with a format if need be
                ({step:06d}); `{{step}}` is the text `{step}`; other braces stand for themselves.
            overwrite: a new version of an artifact that has this name already; the last one is what the name
                means, the others stay reachable by digest.
            link: an alias that stands for this artifact as soon as it is complete.
            snapshot: "auto": by reflink where the file system can, else copied before this returns. "reflink",
                "copy". "link": a hard link, for files that are replaced and never rewritten.
            step: the step it belongs to, and the value of {step}.
            level: importance, as for `log`.
            metadata: plain data that readers are told.

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
            metadata=metadata, position=self._position,
        )  # fmt: skip

    def link_artifact(
        self, existing: str, alias: str, overwrite: bool = True, *, step: int | None = None, level: int | None = None
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

        Thread-safe. When it has returned, the link survives the death of the process.
        """
        artifacts = self._take_artifacts()
        if artifacts is None:
            return nothing(alias, step)
        return artifacts.link(existing, alias, overwrite=overwrite, step=step, level=level, position=self._position)

    def _take_artifacts(self) -> Artifacts | None:
        """This process's artifacts; None in a run that records nothing."""
        with _lock:
            if self._is_closed:
                msg = "an artifact was logged after finish: the run takes no more; call steno.init for a new one"
                raise ClosedError(msg)
            recorder = self._started.recorder
            if self._artifacts is None and not isinstance(recorder, Nothing):
                self._artifacts = Artifacts(self._started, recorder, self._report)
            return self._artifacts

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
        """
        tasks = self._tasks
        if tasks is None:
            tasks = self._take_tasks()
        return tasks.async_log(func, *args, step=step, mode=mode, step_at=step_at, **kwargs)

    def _take_tasks(self) -> Register:
        from steno.capture.tasks.register import Register

        with _lock:
            if self._ended is not None:
                msg = "async_log was called after finish: the run takes no more tasks; call steno.init for a new one"
                raise ClosedError(msg)
            if self._tasks is None:
                child_log = (
                    ("steno", "log") if self._started.id and hasattr(self._started.recorder, "add") else ("", "")
                )
                self._tasks = Register(
                    self._started.recorder, report=self._report, options=self._async_options, child_log=child_log
                )
            return self._tasks

    def _tell(self, kind: str, payload: dict[str, Any], step: int | None = None) -> None:
        self._started.recorder.entry(kind, payload, step)

    # -- the end --------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what this process logged before the call is readable by another process.

        Args:
            timeout: seconds; None waits as long as a collector is at work.

        Returns:
            False: not within the time, or there is no collector; it stays in the journal.
        """
        return self._posted(float("inf") if timeout is None else time.monotonic() + timeout)

    def finish(self, timeout: float | None = None) -> bool:
        """End the recording: wait for tasks, then posting and destinations, then close.

        Args:
            timeout: seconds in all. None: as long as `async_log` tasks take (Ctrl-C abandons them), then
                2 seconds. What is not delivered by then stays on disk: the collector, or `steno sync`,
                delivers it.

        Returns:
            True: all is posted and delivered, and in the object stores that were asked for; no task was
            abandoned. A second call returns the same.

        Raises:
            RuntimeError: called by a task, which finish would have to wait for.
        """
        return self._end("finished", timeout=timeout)

    async def afinish(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - finish's own bound, kept by it
        """`finish` for a coroutine: the event loop, and the tasks on it, go on meanwhile."""
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
        return await asyncio.wrap_future(future)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
            self._end("finished")
        else:
            interrupted = isinstance(error, KeyboardInterrupt)
            self._end("failed", explain(error, trace), timeout=END_SECS if interrupted else None)

    def _end(self, state: str, why: tuple[str, str] | None = None, timeout: float | None = None) -> bool:
        if self._tasks is not None and self._tasks.calls():
            msg = "finish was called by an async_log task, which it would have to wait for: call it where init was"
            raise RuntimeError(msg)
        began = time.monotonic()
        if not self._ending.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            return False
        try:
            if self._ended is not None:
                return self._ended
            done = self._awaited(None if timeout is None else began + max(timeout, 0.0))
            self._started.unhear()
            deadline = time.monotonic() + END_SECS if timeout is None else began + max(timeout, 0.0)
            if os.getpid() != self._owner:
                return self._end_child(deadline)
            # Set first, so that a signal in the middle does not begin again.
            self._ended = False
            try:
                # What dies with this process comes first: device values, posting, destinations that run in it. These
                # may log at their ends, which is posted too.
                stages = (
                    self._drained, lambda _: self._marked(state, why), self._posted, self._fed, self._posted,
                    self._stored, self._delivered,
                )  # fmt: skip
                for stage in stages:
                    done = stage(deadline) and done
            finally:
                self._close(deadline)
            done = self._uploaded(deadline) and done
            self._ended = done
            return done
        finally:
            self._ending.release()

    def _awaited(self, deadline: float | None) -> bool:
        """The tasks' stage: all ended. Of a given time it leaves a part for what comes after."""
        if self._tasks is None:
            return True
        if deadline is None:
            return not self._tasks.close(None)
        left = max(0.0, deadline - time.monotonic())
        return not self._tasks.close(left - min(left / 4, _POSTING_SECS))

    def _end_child(self, deadline: float) -> bool:
        """A forked child ends its own journal; the run, its feeds and its collector are its parent's."""
        done = self._posted(deadline) and self._stored(deadline)
        self._ended = done
        self._close_artifacts()
        self._started.recorder.close()
        self._left(self)
        return done

    def _drained(self, deadline: float) -> bool:
        done = self._started.recorder.drain(deadline)
        optimization = sys.modules.get("steno.optimization")
        if optimization is not None:
            done = optimization.settle(deadline) and done
        return done

    def _fed(self, deadline: float) -> bool:
        done = True
        # One that hangs must leave the others time to close.
        until = deadline - 2 * _CLOSE_SECS
        for feed in self._started.feeds:
            done = feed.drain(max(0.0, until - time.monotonic())) and done
        return self._end_feeds(deadline) and done

    def _end_feeds(self, deadline: float) -> bool:
        if not self._started.feeds:
            return True
        from steno.capture.inprocess.feed import close_all

        return close_all(self._started.feeds, deadline, _CLOSE_SECS)

    def _marked(self, state: str, why: tuple[str, str] | None) -> bool:
        payload = {"state": state}
        if why is not None:
            payload["error"], payload["traceback"] = why
        self._tell(FINISH, payload)
        return True

    def _posted(self, deadline: float) -> bool:
        """Wait for posting while there is somebody who posts."""
        started = self._started
        while True:
            left = deadline - time.monotonic() if started.watchdog.hopeful() else 0.0
            hurry(started.dir)
            if started.recorder.flush(max(0.0, min(left, _SLICE_SECS))):
                return True
            if left <= 0:
                return False

    def _stored(self, deadline: float) -> bool:
        return self._artifacts is None or self._artifacts.settle(deadline)

    def _delivered(self, deadline: float) -> bool:
        started = self._started
        while lacking(started.dir, started.recorder.last_record):
            if time.monotonic() >= deadline or not started.watchdog.hopeful():
                return False
            if is_hopeless(started.dir, started.recorder.last_record):
                # No retry will help: the exit need not wait for it.
                return False
            time.sleep(_POLL_SECS)
        return True

    def _uploaded(self, deadline: float) -> bool:
        """Wait for the object stores. After `_close`: the last parts are sealed when all writers are gone."""
        started = self._started
        if not uploading.asked(started.dir):
            return True
        left = uploading.wait(started.dir, started.recorder.last_record, deadline, lambda: is_running(started.dir))
        if left:
            self._report("uploads", uploading.line(started.dir, left, running=is_running(started.dir)))
        return not left

    def _close(self, deadline: float) -> None:
        started = self._started
        self._end_feeds(deadline)
        self._close_artifacts()
        started.recorder.close()
        hurry(started.dir)
        started.watchdog.release()
        started.restore()
        self._left(self)

    def _close_artifacts(self) -> None:
        self._is_closed = True
        if self._artifacts is not None:
            self._artifacts.close()


def masked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration as it is written down: plain values, secrets masked."""
    return {key: mask(key, plain(value)) for key, value in changes.items()}


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
