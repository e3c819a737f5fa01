"""`steno import`: TensorBoard's event files become runs."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steno.capture.open_runs import RUNS
from steno.cli import options, terminal
from steno.errors import RunExistsError, UsageError
from steno.store.eventreader import EventFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from steno import Run
    from steno.store.eventreader import Event, Value

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


def import_(
    logdir: Annotated[str, typer.Argument(metavar="LOGDIR", help="A directory with event files in it or below it.")],
    *,
    project: Annotated[
        str | None, typer.Option("--project", help="The project of the runs; default: the directory's name.")
    ] = None,
    dir: options.Dir = None,
    json: options.Json = False,
) -> None:
    """Make a run of each directory with TensorBoard event files: scalars, images, sounds, texts, histograms."""
    source = Path(logdir)
    places = sorted(event_dirs(source))
    if not places:
        raise UsageError(f"there are no event files (*tfevents*) in {source} or below it")
    runs_dir = Path(options.runs_dir(dir))
    chosen = _project(source, project)
    wanted = [Imported(str(place), chosen, name) for place, name in zip(places, _names(source, places), strict=True)]
    for one in wanted:
        if (runs_dir / one.project / one.name).exists():
            raise RunExistsError(
                f"{runs_dir / one.project / one.name} is there already: import into another --project or --dir"
            )
    done = []
    for one in wanted:
        _import(one, runs_dir)
        done.append(one)
        if not json:
            _tell(one)
    if json:
        terminal.print_json({"runs": [_plain(one) for one in done]})


def event_dirs(top: Path) -> Iterator[Path]:
    """The directories, the top one too, that have event files."""
    for place, dirs, files in os.walk(top):
        dirs.sort()
        if any("tfevents" in name for name in files):
            yield Path(place)


def _project(source: Path, given: str | None) -> str:
    return given or source.resolve().name.lstrip(".") or "imported"


def _names(source: Path, places: list[Path]) -> list[str]:
    """A name for each directory: its path below the top, which is `main`."""
    names: list[str] = []
    for place in places:
        parts = [part.strip(" .") for part in place.relative_to(source).parts]
        base = name = "-".join(filter(None, parts)) or "main"
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _import(one: Imported, runs_dir: Path) -> None:
    import steno

    def begin(**more: Any) -> Run:
        return steno.init(
            one.project,
            one.name,
            dir=runs_dir,
            collector=False,
            tags=("imported",),
            notes=f"imported from {os.path.abspath(one.source)}",
            mode="on",
            **more,
        )

    run = begin(resume=False)
    one.path = str(run.dir)
    failure: BaseException | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="steno-import-") as aside:
            writer = _Writer(one, run, Path(aside))
            plugins: dict[str, str] = {}
            for path in sorted(Path(one.source).iterdir()):
                if "tfevents" not in path.name or not path.is_file():
                    continue
                file = EventFile(path, plugins)
                for event in file:
                    if event.restart and one.points:
                        # What was written from this step on was void for TensorBoard: it is kept, and hidden.
                        run.finish()
                        run = begin(resume=True, rewind=max(event.step, 0))
                        writer.onto(run)
                    writer.write(event)
                one.files += 1
                one.lost_bytes += file.lost_bytes
    except BaseException as error:
        failure = error
        raise
    finally:
        run.__exit__(type(failure), failure, None) if failure else run.finish()
        steno.sync(run.dir)


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

    def write(self, event: Event) -> None:
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


def _plain(one: Imported) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Imported.__slots__}


def _tell(one: Imported) -> None:
    console = terminal.console()
    files = f"{one.files} file{'' if one.files == 1 else 's'}"
    console.print(f"{one.points:,} points of {files} in {one.path}", markup=False, soft_wrap=True)
    if one.left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(one.left_out.items()))
        console.print(f"  left out: {kinds}", markup=False, soft_wrap=True)
    if one.lost_bytes:
        console.print(f"  {one.lost_bytes:,} bytes could not be read", markup=False, soft_wrap=True)
