"""What a run has at one moment: parts, points that are in none, what rewinds hide, and when its attempts were."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from steno import inside, runfile
from steno.errors import RunNotFoundError
from steno.ledger.listed import read_manifest
from steno.ledger.snapshot import LOST_LEDGER, Part, Snapshot, Stream
from steno.record import START, node_name
from steno.store import attempts as attempts_
from steno.store import info, records
from steno.store.unsealed import RunView, Unsealed, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any, Final

    from steno.record import Entry
    from steno.store.bins.engine import RunToRead
    from steno.store.chunk import Chunk
    from steno.store.engine import Engine
    from steno.store.points import Points

_RUNS_KEPT: Final = 256
_POINTS_KEPT: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One run as it is read."""

    parts: tuple[Part, ...]
    """Those that hold points."""
    chunks: tuple[Chunk, ...]
    ids: Mapping[str, int]
    """Key → its number in the chunks."""
    choice: attempts_.Choice
    attempts: tuple[attempts_.Attempt, ...]
    streams: tuple[Stream, ...]
    damage: tuple[str, ...]
    """What of it is lost, a line each."""
    running: bool
    is_final: bool = False
    """Whether it has ended, and its manifest says all."""
    has_all_streams: bool = False
    """Whether the streams are known of all that the parts have; else a ledger was lost."""

    @property
    def view(self) -> RunView:
        """The points as other readers take them."""
        return RunView(Snapshot(parts=self.parts), self.chunks, self.ids)

    def unsealed(self, key: str) -> list[Points]:
        """The points of a key that are in no part yet, in pieces, in the order of the chunks."""
        number = self.ids.get(key)
        found = [chunk.of(number) for chunk in self.chunks] if number is not None else []
        return [points for points in found if points is not None]

    def of_ranks(self, ranks: Sequence[int] | None) -> Moment:
        """Without the parts of nodes that none of these ranks has recorded on."""
        if ranks is None or not self.has_all_streams:
            return self
        some = {stream.node for stream in self.streams if stream.rank in ranks}
        others = {stream.node for stream in self.streams} - some
        return replace(self, parts=tuple(part for part in self.parts if part.node not in others))

    @property
    def token(self) -> Hashable:
        """The same as long as the points are the same."""
        parts = tuple((part.name, part.rows, part.bytes, part.crc) for part in self.parts)
        return parts, self.choice, tuple((len(chunk), int(chunk.shared["record"][-1])) for chunk in self.chunks)


class LivePoints:
    """Follows the points that are in no part yet, of the runs that were looked at last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, Unsealed] = OrderedDict()
        self._points: dict[Path, int] = {}

    def view(self, run_dir: Path) -> RunView:
        """What is readable of a run now."""
        with self._lock:
            one = self._kept.get(run_dir) or self._kept.setdefault(run_dir, follow(run_dir))
            self._kept.move_to_end(run_dir)
        view = one.view()
        with self._lock:
            if run_dir in self._kept:
                self._points[run_dir] = sum(map(len, view.chunks))
            while len(self._kept) > _RUNS_KEPT or (len(self._kept) > 1 and sum(self._points.values()) > _POINTS_KEPT):
                gone, _ = self._kept.popitem(last=False)
                self._points.pop(gone, None)
        return view


def look(shown: RunToRead, engine: Engine, live: LivePoints) -> Moment:
    """The run as it is now; one that has ended is read from its manifest alone.

    Raises:
        RunNotFoundError: it is gone.
        CorruptError: something in its machinery is a link, or no file.
        OSError: it cannot be read.
    """
    if shown.remote is not None:
        engine.origins[shown.dir] = shown.remote
        shown.remote.refresh()
    if not os.path.isdir(shown.dir):
        raise RunNotFoundError(f"the run {shown.dir} is gone")
    inside.check(shown.dir)
    runfile.require_format(shown.dir)
    manifest, wrong = read_manifest(shown.dir)
    if manifest.get("state") not in {None, "", "running"} and manifest.get("streams") and not _has_journals(shown.dir):
        parts = [Part(**row) for row in manifest["parts"]]
        ended = _moment(
            shown.dir, lambda: manifest, parts, (), {}, tuple(Stream(**row) for row in manifest["streams"]), (),
            lambda: _starts(engine, shown.dir, live), running=False,
        )  # fmt: skip
        lost = any(row.get("kind") == LOST_LEDGER for row in manifest.get("losses") or ())
        return replace(ended, is_final=True, has_all_streams=not lost)
    view = live.view(shown.dir)
    snapshot = view.snapshot
    said = info.damage(
        snapshot.losses, {**_unreadable(snapshot.unreadable), **({"manifest.json": wrong} if wrong else {})}
    )
    state = info.state_of(shown.dir, snapshot, manifest)
    found = _moment(
        shown.dir, lambda: read_manifest(shown.dir)[0], snapshot.parts, view.chunks, view.ids, snapshot.streams,
        tuple(said), lambda: _starts(engine, shown.dir, live), running=state in {"", "running"},
    )  # fmt: skip
    return replace(found, has_all_streams=not any(loss.kind == LOST_LEDGER for loss in snapshot.losses))


def _moment(
    run_dir: Path,
    manifest: Callable[[], Mapping[str, Any]],
    parts: Iterable[Part],
    chunks: tuple[Chunk, ...],
    ids: Mapping[str, int],
    streams: tuple[Stream, ...],
    said: tuple[str, ...],
    starts: Callable[[], Iterable[Entry]],
    *,
    running: bool,
) -> Moment:
    attempts = attempts_.read_attempts(run_dir, manifest, starts)
    return Moment(
        parts=tuple(part for part in parts if part.kind == "metrics"),
        chunks=chunks,
        ids=ids,
        choice=attempts_.choose(attempts, "latest"),
        attempts=attempts,
        streams=streams,
        damage=said,
        running=running,
    )


def _starts(engine: Engine, run_dir: Path, live: LivePoints) -> list[Entry]:
    view = live.view(run_dir)
    found = [*records.read_entries(engine, run_dir, view), *view.snapshot.entries]
    return [entry for entry in found if entry.kind == START]


def _unreadable(nodes: Mapping[Any, str]) -> dict[str, str]:
    return {f"node {node_name(node)}": why for node, why in nodes.items()}


def _has_journals(run_dir: Path) -> bool:
    try:
        with os.scandir(run_dir / ".steno" / "journal") as found:
            return next(found, None) is not None
    except OSError:
        return False
