"""Lines for people: what was logged and what was printed, in one text file per rank."""

from __future__ import annotations

import json
import os
import string
from collections import deque
from dataclasses import astuple, dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from steno import files, inside
from steno.destinations.file import Tail
from steno.errors import CorruptError, Stop
from steno.events.event import Event
from steno.events.level import LogLevel
from steno.record import EVENT, OUTPUT, Record, Ref, node_name

if TYPE_CHECKING:
    from pathlib import Path

    from steno.record import Batch, Entry, RunInfo

_ASIDE = frozenset(
    Event(f"{kind}_{part}")
    for kind in ("eval", "predict")
    for part in ("batch_start", "before_forward", "after_forward", "batch_end")
)
"""Batches of evaluations and predictions have counts of their own."""
_FIELDS = frozenset({"run_name", "project", "rank", "node"})
_PAST = 256
"""Moves of batch or epoch that are remembered for values that come late; kept with the cursor."""
_MODES = ("append", "exclusive")
_OURS = frozenset({".steno", "artifacts", "media", "metrics", "records", "run.json", "manifest.json"})
"""What lies in a run's directory and is no place for a log."""


@dataclass(slots=True)
class _Place:
    """Where a rank's training is, as its events say and as `steno.State` counts; None: none has said."""

    batch: int | None = None
    epoch: int | None = None
    in_epoch: bool = False
    since: int = 0
    """Number of the event that moved it last."""

    def move(self, event: Entry) -> None:
        self.since = event.record
        try:
            what = Event(str(event.payload.get("name")))
        except ValueError:
            return  # the program's own
        if what in _ASIDE:
            return
        batch, epoch = (_whole(event.payload.get(name)) for name in ("batch", "epoch"))
        if batch is not None:
            self.batch = batch
        elif what in {Event.BATCH_START, Event.BATCH_END}:
            self.batch = (self.batch or 0) + (what is Event.BATCH_END)
        if epoch is not None:
            self.epoch = epoch
        elif what in {Event.EPOCH_START, Event.EPOCH_END}:
            # A loop may tell of beginnings only.
            self.epoch = (self.epoch or 0) + (what is Event.EPOCH_END or self.in_epoch)
        self.in_epoch = (self.in_epoch or what is Event.EPOCH_START) and what is not Event.EPOCH_END


@dataclass(slots=True)
class _Progress:
    """What the lines to come depend on: places by rank. Moves only when all lines of a batch are written."""

    places: dict[int, _Place] = field(default_factory=dict)
    past: deque[tuple[int, int, int | None, int | None]] = field(default_factory=lambda: deque(maxlen=_PAST))
    """(rank, number from which on, batch, epoch): where late values belong."""

    def move(self, event: Entry) -> None:
        place = self.places.setdefault(event.rank, _Place())
        before = (event.rank, place.since, place.batch, place.epoch)
        place.move(event)
        if (place.batch, place.epoch) != before[2:]:
            self.past.append(before)
        else:
            place.since = before[1]

    def at(self, record: Record) -> tuple[int, int]:
        """The batch and the epoch that a record belongs to."""
        place = self.places.get(record.rank)
        batch, epoch, since = (None, None, 0) if place is None else (place.batch, place.epoch, place.since)
        if record.record < since:
            for rank, number, *then in reversed(self.past):
                if rank == record.rank:
                    batch, epoch = then
                    if number <= record.record:
                        break
        return record.step if batch is None else batch, record.step if epoch is None else epoch

    def copy(self) -> _Progress:
        return _Progress({rank: replace(place) for rank, place in self.places.items()}, self.past.copy())


class TextLog:
    """One line per record, `[BATCH][batch=7]: { "loss": 0.5, }`, and one per line that the program printed.

    A record is of the level that `run.log(..., level=)` gave it, a record without one of BATCH. FIT is always
    written. EPOCH is written where `log_level` is BATCH, and where it is EPOCH at every `log_interval`-th epoch;
    BATCH only where `log_level` is BATCH, at every `log_interval`-th batch. Batch and epoch are as the events of the
    rank's training loop say, else the record's step. Floats are the shortest text that gives the same float64.
    Nothing waits for a device: a value that comes late has a line of its own when it is there.

    Used by one thread. Nothing is lost if the process dies: the collector gives the unsaved batches again, and
    lines that are there already are not written twice.

    Args:
        filename: under the run's directory; may name {run_name}, {project}, {rank} and {node}. Without {rank} all
            ranks of a machine share the file; without {node}, machines beyond the first have their node's id added.
        log_level: a `steno.LogLevel`, its number or its name.
        log_interval: of epochs or batches, from 1 on.
        mode: "append": go on behind what the file holds. "exclusive": a file that was there before this run is an
            error, and stays as it is. Nothing is ever truncated.
    """

    kinds = frozenset({"points", EVENT, OUTPUT})

    def __init__(
        self,
        *,
        filename: str = "logs-rank{rank}.txt",
        log_level: str | int = "batch",
        log_interval: int = 1,
        mode: str = "append",
    ) -> None:
        if mode not in _MODES:
            raise ValueError(f"mode is {' or '.join(map(repr, _MODES))}, not {mode!r}")
        if isinstance(log_interval, bool) or not isinstance(log_interval, int) or log_interval < 1:
            raise ValueError(f"log_interval is a number of epochs or batches from 1 on, not {log_interval!r}")
        self._level = LogLevel(log_level)  # type: ignore[arg-type]
        self._interval = log_interval
        self._exclusive = mode == "exclusive"
        self._template = _checked(filename)
        self._run: RunInfo | None = None
        self._progress = _Progress()
        self._tails: dict[str, Tail] = {}

    @property
    def position(self) -> dict[str, Any]:
        """Delivered bytes by file, and by rank the batch and the epoch, now and a little while ago."""
        places = {str(rank): list(astuple(place)) for rank, place in self._progress.places.items()}
        past = [list(one) for one in self._progress.past]
        return {"sizes": {name: tail.at for name, tail in self._tails.items()}, "places": places, "past": past}

    def open(self, run: RunInfo) -> None:
        """Begin, or go on from `run.position`; makes no file before the first line."""
        self.close()
        self._run = run
        saved = run.position or {}
        places = {int(rank): _Place(*numbers) for rank, numbers in saved.get("places", {}).items()}
        self._progress = _Progress(places)
        self._progress.past.extend(tuple(one) for one in saved.get("past", ()))
        self._tails = {name: Tail(run.dir, name, size) for name, size in saved.get("sizes", {}).items()}

    def write(self, batch: Batch) -> None:
        """Append the batch's lines; OSError when a file cannot be written, Stop when it must not be."""
        from steno.destinations.order import merged

        if self._run is None:
            return
        progress = self._progress.copy()
        # By number: a late value repeats the number of its record, and so its level.
        levels = {int(batch.record[row]): _said_level(what) for row, what in batch.meta.items()}
        lines: dict[str, list[str]] = {}
        for one in merged(batch):
            if isinstance(one, Record):
                some = self._of_record(one, levels.get(one.record, LogLevel.BATCH), *progress.at(one))
            elif one.kind == EVENT:
                progress.move(one)
                continue
            elif one.kind == OUTPUT:
                some = printed(one)
            else:
                continue
            if some:
                lines.setdefault(self._name(one.rank), []).extend(some)
        for name in lines:
            self._ready(name)
        for name, text in lines.items():
            self._tails[name].append("".join(text).encode("utf-8", "surrogatepass"))
        for name in lines:
            self._tails[name].commit()
        self._progress = progress

    def flush(self) -> None:
        """Nothing: what `write` returned from can be read."""

    def close(self) -> None:
        """Sync and close the files."""
        for tail in self._tails.values():
            tail.close()

    # -- lines ------------------------------------------------------------------------------------------

    def _of_record(self, record: Record, level: LogLevel, batch: int, epoch: int) -> list[str]:
        """One line; none when the level or the interval leaves it out, or it has no value."""
        if not record.values or not self._is_wanted(level, batch, epoch):
            return []
        return [f"[{level.name}][batch={batch}]: {shown(record.values)}\n"]

    def _is_wanted(self, level: LogLevel, batch: int, epoch: int) -> bool:
        if level is LogLevel.FIT or level < self._level:
            return True
        number = epoch if level is LogLevel.EPOCH else batch
        return level is self._level and (number + 1) % self._interval == 0

    # -- files ------------------------------------------------------------------------------------------

    def _name(self, rank: int) -> str:
        assert self._run is not None
        run = self._run
        name = self._template.format(run_name=run.name, project=run.project, rank=rank, node=node_name(run.node))
        if run.node_suffix and "node" not in _fields(self._template):
            path = PurePath(name)
            name = str(path.with_name(f"{path.stem}-node-{run.node_suffix}{path.suffix}"))
        return name

    def _ready(self, name: str) -> None:
        assert self._run is not None
        tail = self._tails.get(name)
        if tail is None:
            if self._exclusive:
                _claim(self._run.dir, name)
            tail = self._tails[name] = Tail(self._run.dir, name)
        tail.reopen()


def shown(value: Any) -> str:
    """A value as the lines show it: `{ "k": v, }`, `[a, b]`, `None`, quoted text, numbers exactly."""
    if isinstance(value, dict):
        return "{ " + "".join(f"{quoted(str(key))}: {shown(one)}, " for key, one in value.items()) + "}"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Ref):
        text = value.meta.get("text")
        return str(value) if value.digest else quoted(text) if isinstance(text, str) else value.kind
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value)


def quoted(text: str) -> str:
    """A text in quotes, on one line."""
    return json.dumps(text, ensure_ascii=False)


def printed(entry: Entry) -> list[str]:
    """The lines of an entry of the kind `output`."""
    stream, left_out, text = (entry.payload.get(name) for name in ("stream", "left_out", "text"))
    lines = [f"({left_out} lines were printed too fast and are left out)"] if left_out else []
    lines += text.split("\n") if isinstance(text, str) else []
    return [f"[{stream}]: {line}\n" for line in lines]


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _said_level(meta: Any) -> LogLevel:
    """A level beyond the three is the nearest of them."""
    level = meta.get("level")
    return LogLevel(min(max(level, LogLevel.FIT), LogLevel.BATCH)) if isinstance(level, int) else LogLevel.BATCH


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _checked(filename: Any) -> str:
    if not isinstance(filename, str) or not filename:
        raise ValueError(f"filename is the path of a file under the run's directory, not {filename!r}")
    try:
        unknown = sorted(_fields(filename) - _FIELDS)
    except ValueError as error:
        raise ValueError(f"filename {filename!r}: {error}; a literal brace is written twice") from None
    if unknown:
        fields = ", ".join(f"{{{name}}}" for name in sorted(_FIELDS))
        raise ValueError(f"filename {filename!r} names {{{unknown[0]}}}: it may name {fields}")
    path = PurePath(filename.format(run_name="a", project="a", rank=0, node="a"))
    outside = path.is_absolute() or ".." in path.parts or not path.name or filename.endswith("/") or "\0" in filename
    if outside or path.parts[0] in _OURS:
        raise ValueError(
            f"filename {filename!r} is no place for a log: give a path of its own under the run's directory"
        )
    return filename


def _claim(run_dir: Path, name: str) -> None:
    """Make the file for this run alone; Stop when it was there before.

    The claim is written first: after a crash at any instruction the file that is found is known to be ours.
    """
    try:
        path = inside.path(run_dir, name)
    except CorruptError as error:
        raise Stop(str(error)) from error
    claim = run_dir / ".steno" / "text" / name.replace("%", "%25").replace("/", "%2F")
    if claim.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    claim.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(path):
        files.touch(claim)
        try:
            os.close(files.create(path))
            return
        except FileExistsError:
            files.unlink(claim)
        except BaseException:
            files.unlink(claim, missing_ok=True)
            raise
    raise Stop(f'{path} was there before this run (FileExistsError): with mode="append" the log goes on behind it')
