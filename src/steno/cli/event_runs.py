"""Records the event files of one directory into a run, once: a try that was cut short is done again."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import files as durable
from steno.capture.lifecycle import how
from steno.capture.open_runs import RUNS
from steno.errors import RunExistsError, UsageError
from steno.store.eventreader import EventFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from steno import Run
    from steno.store.eventreader import ReadEvent, Value

MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"BM": "bmp", b"RIFF": "webp"}
SOUNDS = {b"RIFF": "wav", b"ID3": "mp3", b"\xff\xfb": "mp3", b"fLaC": "flac", b"OggS": "ogg"}


@dataclass(slots=True)
class Imported:
    """What became of one directory of event files."""

    source: str
    project: str
    name: str
    path: str = ""
    files: int = 0
    events: int = 0
    points: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """By kind: values that were not read, or that a run cannot hold."""
    lost_bytes: int = 0
    """What could not be read of the files."""
    there_already: bool = False
    """An earlier import made the run, and its files are the same."""
    error: str | None = None
    """Why there is no run of it."""


def record(one: Imported, runs_dir: Path) -> None:
    """Make the run; `one` gets what became of it.

    What lies there is left alone, unless it is an earlier try's that was cut short.

    Raises:
        RunExistsError: something else lies at its place.
        UsageError: the name cannot be a run's.
        OSError: the files cannot be read, or the run cannot be written.
    """
    target = runs_dir / one.project / one.name
    if target.exists():
        one.path = str(target)
        mark = durable.read_json(target / _MARK)
        if mark.get("source") != os.path.realpath(one.source):
            msg = f"{target} is there already, and is not from {one.source}: import into another --project or --dir"
            raise RunExistsError(msg)
        if mark.get("complete"):
            if mark.get("files") != _files(one.source):
                msg = f"{target} is there already, from the files as they were: import into another --project or --dir"
                raise RunExistsError(msg)
            one.there_already = True
            return
        durable.remove_tree(target)
    _record(one, runs_dir)


def _record(one: Imported, runs_dir: Path) -> None:
    import steno

    def begin(**more: Any) -> Run:
        return steno.init(
            one.project,
            one.name,
            dir=runs_dir,
            settings=steno.Settings(collector=False, quiet=True),
            tags=("imported",),
            notes=f"imported from {os.fsencode(os.path.abspath(one.source)).decode('utf-8', 'backslashreplace')}",
            mode="on",
            **more,
        )

    files = _files(one.source)
    run = begin(resume=False)
    one.path = str(run.dir)
    _mark(run.dir, one.source, files, complete=False)
    failure: BaseException | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="steno-import-") as aside:
            writer = _Writer(one, run, Path(aside))
            plugins: dict[str, str] = {}
            for name, _ in files:
                file = EventFile(Path(one.source) / name, plugins)
                for event in file:
                    if event.restart and one.points:
                        # What was written from this step on was void for TensorBoard: it is kept, and hidden.
                        RUNS.of(run).end("finished", announce=False)  # what is not posted yet is posted below
                        run = begin(resume=True, rewind=max(event.step, 0))
                        writer.onto(run)
                    writer.write(event)
                one.files += 1
                one.lost_bytes += file.lost_bytes
    except BaseException as error:
        failure = error
        raise
    finally:
        RUNS.of(run).end(*how(failure), announce=False)
        steno.sync(run.dir)
    _mark(run.dir, one.source, files, complete=True)


_MARK = "import.json"


def _mark(run_dir: Path, source: str, files: list[list[Any]], *, complete: bool) -> None:
    """Note whose run this is, and whether it is whole."""
    said = {"source": os.path.realpath(source), "complete": complete, "files": files}
    durable.write_json(run_dir / _MARK, said)


def _files(source: str) -> list[list[Any]]:
    """[name, size in bytes] of the event files in a directory, in the order in which they were written."""
    return [
        [path.name, path.stat().st_size]
        for path in sorted(Path(source).iterdir())
        if "tfevents" in path.name and path.is_file()
    ]


class _Writer:
    """Records events into a run, at their own times."""

    def __init__(self, one: Imported, run: Run, aside: Path) -> None:
        self._one = one
        self._aside = aside
        self.onto(run)

    def onto(self, run: Run) -> None:
        """Go on in another attempt."""
        self._run = run
        self._put: Callable[..., None] = RUNS.of(run).started.recorder.scope({})[1]

    def write(self, event: ReadEvent) -> None:
        """One event is one record, unless it has pictures, sounds, or two values of one tag."""
        data: dict[str, Any] = {}

        def put() -> None:
            if data:
                self._put(data, event.step, event.time)
                data.clear()

        self._one.events += 1
        for value in event.values:
            if value.kind == "hparams":
                self._run.config.update(value.data)
                continue
            try:
                made = value.data if value.kind == "scalar" else self._media(value)
            except (UsageError, OSError):
                made = None
            if made is None:
                self._one.left_out[value.kind] += 1
                continue
            if value.tag in data:
                put()
            data[value.tag] = made
            self._one.points += 1
            if value.kind in {"image", "audio"}:
                # Its file is taken when it is recorded: the next one takes its place.
                put()
        put()

    def _media(self, value: Value) -> Any:
        """What is to be recorded; None for what is not known here.

        Raises:
            UsageError: a run cannot hold it.
        """
        import steno

        if value.kind == "text":
            return steno.Text(value.data)
        if value.kind == "histogram":
            return steno.Histogram(
                counts=[int(count) if float(count).is_integer() else count for count in value.data.counts],
                edges=value.data.edges,
                statistics=value.data.statistics,
            )
        if value.kind == "image":
            path = self._file(value.data, MAGIC)
            return None if path is None else (steno.Video(path) if path.endswith(".gif") else steno.Image(path))
        if value.kind == "audio":
            path = self._file(value.data, SOUNDS)
            return None if path is None else steno.Audio(path)
        return None

    def _file(self, data: bytes, magic: dict[bytes, str]) -> str | None:
        """The bytes as a file, overwritten by the next one; None when they are of no known type."""
        ext = next((ext for head, ext in magic.items() if data.startswith(head)), None)
        if ext is None:
            return None
        path = self._aside / f"value.{ext}"
        path.write_bytes(data)
        return str(path)
