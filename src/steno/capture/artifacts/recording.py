"""Artifacts in the training process: a name, a snapshot, an entry in the journal, a handle."""

from __future__ import annotations

import operator
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.artifacts import names
from steno.artifacts.index import IndexReader
from steno.artifacts.meanings import Meaning, Names
from steno.capture.artifacts.handles import ArtifactHandle
from steno.capture.artifacts.staging import NoRoomError, Staging
from steno.capture.collected import hurry
from steno.capture.plain import plain
from steno.capture.start import launcher
from steno.capture.start.attempt import attempts
from steno.errors import RecordError, UsageError
from steno.events.level import LogLevel
from steno.journal.pointers import SUFFIX
from steno.record import ARTIFACT
from steno.secrecy import mask
from steno.utf8 import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.capture.recorder import Recorder
    from steno.capture.start.started import StartedRun

SNAPSHOTS: Final = ("auto", "reflink", "copy", "link")
_POLL_SECS: Final = 0.02
_HURRY_SECS: Final = 0.1


class ArtifactLog:
    """Logs one process's artifacts. Thread-safe; a forked child goes on by itself.

    A snapshot is complete before its entry is journalled, so a kill leaves an artifact or nothing. What is
    journalled is stored by the collector; the handles read in its index what came of them.

    Args:
        started: the run.
        recorder: the process's.
        report: tells the user, once per key.
    """

    def __init__(self, started: StartedRun, recorder: Recorder, report: Callable[[str, str], None]) -> None:
        self._started = started
        self._recorder = recorder
        self._report = report
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # Taken again by a signal handler that interrupts its own thread.
        self._lock = threading.RLock()
        self._names = Names((one.number, one.rewind) for one in attempts(self._started.dir) if one.rewind is not None)
        self._index = IndexReader(self._started.dir, self._on_line)
        self._handles: weakref.WeakValueDictionary[str, ArtifactHandle] = weakref.WeakValueDictionary()
        self._waiting: set[str] = set()
        self._staging: Staging | None = None
        self._first: dict[str, Staging] = {}
        self._stream = ""
        self._streams: set[str] = set()
        """All journals of this process: another machine may take one over."""
        self._hurried = 0.0
        settings = self._started.settings
        self._launch = launcher.detect(rank=settings.rank, world_size=settings.world_size)
        self.logged = self.stored = self.failed = 0

    def _ready(self) -> Staging:
        if self._pid != os.getpid():
            self._begin()
        staging = self._staging
        if staging is None or self._recorder.stream != self._stream:
            with self._lock:
                self._stream = self._recorder.ensure_stream()
                self._streams.add(self._stream)
                made = Staging(self._started.dir, self._stream, self._report)
                # In one step: a signal handler that logs between two lines must not give the same numbers out again.
                staging = self._staging = self._first.setdefault(self._stream, made)
        return staging

    # -- what the user calls ------------------------------------------------------------------------------

    def log(
        self,
        path: str | os.PathLike[str],
        name: str | None,
        *,
        overwrite: bool,
        link: str | None,
        snapshot: str,
        step: int | None,
        level: Any,
        metadata: Mapping[str, Any] | None,
    ) -> ArtifactHandle:
        """See `Run.log_artifact`."""
        staging = self._ready()
        source = os.fsdecode(path)
        if snapshot not in SNAPSHOTS:
            msg = f"snapshot={snapshot!r} is none of {', '.join(SNAPSHOTS)}"
            raise UsageError(msg)
        step, level = _whole(step, "step"), _level(level)
        fields = self._fields(step)
        own = os.path.basename(os.path.abspath(source))
        name = names.checked(own if name is None else names.formatted(name, fields))
        alias = None if link is None else names.checked(names.formatted(link, fields))
        is_dir = os.path.isdir(source)
        payload: dict[str, Any] = {"op": "dir" if is_dir else "file", "name": name}
        if level is not None:
            payload["level"] = level
        if metadata is not None:
            payload["metadata"] = mask("", plain(dict(metadata)))
        number = staging.number()
        meaning = Meaning(f"{self._stream}/{number}", name, None, step, self._started.attempt)
        with self._lock:
            self._index.look()
            if not overwrite:
                self._refuse_known(name)
            if alias is not None:
                self._check_link(name, alias)
            self._names.enter(meaning)
        handle = self._handle(meaning.id, name, step)
        try:
            if is_dir:
                payload["file"], payload["size"], payload["files"] = staging.tree(number, source, snapshot)
            else:
                mode = os.stat(source).st_mode & 0o777
                payload["file"], payload["size"], payload["how"] = staging.file(number, source, snapshot)
                payload["mode"] = mode
        except NoRoomError as fault:
            self._drop(meaning.id)
            self._at_fault(handle, fault.error)
            if alias is not None:
                handle.link = self._handle(f"{self._stream}/{staging.number()}", alias, step)
                self._fail(handle.link, error=fault.error)
            return handle
        except BaseException:
            self._drop(meaning.id)
            raise
        payload |= {"overwrite": bool(overwrite), "source": escaped(own), "id": meaning.id}
        self._journal(handle, payload, step)
        if alias is not None:
            handle.link = self._link(name, alias, overwrite=True, step=step, level=level)
        return handle

    def link(
        self,
        existing: str,
        alias: str,
        *,
        overwrite: bool,
        step: int | None,
        level: Any,
    ) -> ArtifactHandle:
        """See `Run.link_artifact`."""
        self._ready()
        step, level = _whole(step, "step"), _level(level)
        fields = self._fields(step)
        existing = names.checked(names.formatted(existing, fields))
        alias = names.checked(names.formatted(alias, fields))
        with self._lock:
            self._index.look()
            self._check_link(existing, alias)
            if not overwrite:
                self._refuse_known(alias)
            if self._names.follow(existing) is None and self._is_alone():
                msg = (
                    f"the run {self._started.name!r} has no artifact named {existing!r} that {alias!r} could stand "
                    "for: log it first"
                )
                raise FileNotFoundError(msg)
        return self._link(existing, alias, overwrite=overwrite, step=step, level=level)

    def _link(
        self, existing: str, alias: str, *, overwrite: bool, step: int | None, level: int | None
    ) -> ArtifactHandle:
        id = f"{self._stream}/{self._ready().number()}"
        with self._lock:
            self._names.enter(Meaning(id, alias, existing, step, self._started.attempt))
        handle = self._handle(id, alias, step)
        payload = {"op": "link", "name": alias, "target": existing, "overwrite": bool(overwrite), "id": id}
        if level is not None:
            payload["level"] = level
        self._journal(handle, payload, step)
        return handle

    def _journal(self, handle: ArtifactHandle, payload: dict[str, Any], step: int | None) -> None:
        with self._lock:
            self.logged += 1
            self._waiting.add(handle.id)
        self._recorder.entry(ARTIFACT, payload, step)

    # -- checks -------------------------------------------------------------------------------------------

    def _fields(self, step: int | None) -> dict[str, Any]:
        launch, rank, position = self._launch, self._started.rank, self._started.position
        return {
            "run_name": self._started.name,
            "rank": rank,
            "local_rank": launch.local_rank,
            "world_size": max(launch.world_size, rank + 1),
            "local_world_size": launch.local_world_size,
            "node_rank": launch.node_rank,
            "step": step,
            "epoch": position.epoch,
            "batch": position.batch,
        }

    def _refuse_known(self, name: str) -> None:
        if self._names.get(name) is not None:
            msg = (
                f"the run {self._started.name!r} has an artifact named {name!r} already: pass overwrite=True for a new "
                "version of it, or another name"
            )
            raise FileExistsError(msg)

    def _check_link(self, existing: str, alias: str) -> None:
        if self._names.leads_to(existing, alias):
            msg = f"{alias!r} cannot stand for {existing!r}, which " + (
                "is the same name" if existing == alias else f"stands for {alias!r} itself: that would be a cycle"
            )
            raise UsageError(msg)

    def _is_alone(self) -> bool:
        """Whether nobody but this process can have logged something that the index does not say yet."""
        machinery = self._started.dir / ".steno"
        try:
            journals = {name.removesuffix(SUFFIX) for name in os.listdir(machinery / "journal")}
            nodes = [entry for entry in files.scan(machinery / "nodes") if inside.node(entry.name) is not None]
        except OSError:
            return False
        return self._launch.world_size == 1 and journals <= {self._stream} and len(nodes) <= 1

    # -- what comes of them -------------------------------------------------------------------------------

    def _handle(self, id: str, name: str, step: int | None) -> ArtifactHandle:
        handle = ArtifactHandle(id, name, step, self.look, self._hope)
        with self._lock:
            self._handles[id] = handle
        return handle

    def _hope(self) -> bool:
        """Whether waiting makes sense; asks the collector to hurry, now and then."""
        if time.monotonic() - self._hurried > _HURRY_SECS:
            self._hurried = time.monotonic()
            hurry(self._started.dir)
        return self._started.watchdog.hopeful()

    def look(self) -> None:
        """Take note of what the collectors have said since the last look."""
        if self._pid != os.getpid():
            return  # a handle of the parent's: its answers come there
        with self._lock:
            self._index.look()

    def _on_line(self, line: dict[str, Any]) -> None:
        id = line["id"]
        is_own = id.rpartition("/")[0] in self._streams
        if "name" in line:
            if not is_own:
                self._names.enter(
                    Meaning(id, line["name"], line.get("target"), line.get("step"), int(line.get("attempt", 1)))
                )
            return
        if "error" in line:
            self._names.drop(id)
        else:
            self._names.confirm(id)
        if not is_own or id not in self._waiting:
            return
        self._waiting.discard(id)
        handle = self._handles.get(id)
        error = None
        if "error" in line:
            self.failed += 1
            error = _error(line)
            self._report(f"artifact {line['error']}", f"an artifact came to nothing: {error}")
        else:
            self.stored += 1
        if handle is not None:
            handle.resolve(line.get("digest"), error)

    def _fail(self, handle: ArtifactHandle, *, error: Exception) -> None:
        self.failed += 1
        handle.resolve(None, error)

    def _drop(self, id: str) -> None:
        with self._lock:
            self._names.drop(id)

    def _at_fault(self, handle: ArtifactHandle, error: OSError) -> None:
        self._fail(handle, error=error)
        if self._started.strict:
            raise RecordError(str(error)) from error
        self._report(
            "artifact",
            f"the artifact {handle.name!r} was not kept: no snapshot could be made in {self._started.dir} ({error}). "
            "Training goes on; make room, or use snapshot='link' for files that are never rewritten",
        )

    def wait(self, deadline: float) -> bool:
        """Wait until all that was journalled is stored, or came to nothing; False at the deadline (monotonic secs)."""
        while True:
            self.look()
            if not self._waiting or self._pid != os.getpid():
                return True
            if time.monotonic() >= deadline or not self._hope():
                return False
            time.sleep(_POLL_SECS)

    def close(self) -> None:
        """Leave nothing empty behind."""
        if self._staging is not None and self._pid == os.getpid():
            self._staging.close()

    def health(self) -> dict[str, int]:
        """Counts of this process: logged, stored, failed, waiting."""
        if self._pid != os.getpid():
            self._begin()
        self.look()
        return {
            "logged": self.logged,
            "stored": self.stored,
            "failed": self.failed,
            "waiting": len(self._waiting),
        }


def _whole(value: Any, what: str) -> int | None:
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        msg = f"{what}={value!r} is no whole number"
        raise UsageError(msg) from None


def _level(value: Any) -> int | None:
    """A level's number, of a `LogLevel`, its name or its number."""
    if not isinstance(value, str):
        return _whole(value, "level")
    try:
        named: Any = value  # LogLevel finds names, too
        return int(LogLevel(named))
    except ValueError as error:
        raise UsageError(f"level={value!r}: {error}") from None


_ERRORS: Final[dict[str, type[Exception]]] = {
    "FileExistsError": FileExistsError,
    "FileNotFoundError": FileNotFoundError,
    "UsageError": UsageError,
}


def _error(line: Mapping[str, Any]) -> Exception:
    return _ERRORS.get(str(line["error"]), OSError)(str(line.get("reason", "")))
