"""What `steno doctor` and the viewer say of a run's machinery, and of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shlex
import sqlite3
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steno import files, host, inside, machinery, moments, statusfile
from steno.destinations import asked
from steno.errors import CorruptError
from steno.journal import pointers
from steno.store.info import damage, left_in
from steno.store.intact import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from steno.store.reader import RunReader

LIBRARIES = (
    "msgspec",
    "numpy",
    "duckdb",
    "pyarrow",
    "crc32c",
    "tsdownsample",
    "typer",
    "rich",
    "plotext",
    "tensorboard",
)
LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Journal:
    """One process's journal as it lies on disk."""

    stream: str
    place: str
    alive: bool
    """Whether its writer holds the lock, as far as this machine can tell."""
    segments: int
    size_bytes: int
    unposted_bytes: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What holds a path: type, and free bytes for this user."""

    what: str
    path: str
    kind: str
    free_bytes: int


@dataclass(slots=True)
class Report:
    """Everything that `steno doctor RUN` says."""

    dir: str
    state: str
    journals: list[Journal]
    unposted_bytes: int
    unposted: list[dict[str, Any]]
    """What nobody has posted: stream, host, records, bytes, time, is_reachable, and all that as text."""
    nodes: list[dict[str, Any]]
    """Per node: number, host, collector (running or not), age of its status, the status as the collector wrote it."""
    log: list[str]
    """The last lines that collectors wrote."""
    destinations: list[dict[str, Any]]
    """Per node and destination: node, name, delivered, lag (records), skipped, retries, state, error."""
    uploads: list[dict[str, Any]]
    """Per node: node, state, stores, files, files_left, bytes, bytes_left, rate (bytes/s), eta_secs, retries, error."""
    unconfirmed: list[str]
    """Places that the run itself names and this user has not: nothing is sent there."""
    losses: list[dict[str, Any]]
    damage: list[str]
    """A line for each thing that was recorded and is lost, or cannot be read."""
    notes: list[dict[str, Any]]
    poison: list[str]
    filesystems: list[FileSystem]
    advice: list[str] = field(default_factory=list)


def versions() -> dict[str, str]:
    """Of steno, Python, SQLite, the kernel, and the libraries that are installed."""
    import steno

    found = {
        "steno": steno.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def hot_path() -> dict[str, Any]:
    """Whether records take the native path here, and why not."""
    from steno.journal import native

    return native.health()


def filesystems(*places: tuple[str, Path]) -> list[FileSystem]:
    """Of the places given and of those where journals may lie."""
    from steno.journal import place

    return [
        FileSystem(what, str(path), place.filesystem(path) or "unknown", place.room(path))
        for what, path in (*places, ("shared memory", Path("/dev/shm")))
        if path.exists()
    ]


def examine(run_dir: Path) -> Report:
    """Look at a run without changing a byte of it; a live one may be looked at. Every part is read whole."""
    import steno

    reader = steno.open(run_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what a damaged part has lost stands in the report
        reader.verify()
    return report_of(reader)


def report_of(reader: RunReader) -> Report:
    """What is known of a run without reading its parts, in addition to what this reader has found of them."""
    run_dir, info = reader.dir, reader.info
    place = run_dir / ".steno"
    journals = list(_journals(run_dir))
    nodes = list(_nodes(run_dir))
    report = Report(
        dir=str(run_dir),
        state=info.state,
        journals=journals,
        unposted_bytes=sum(one.unposted_bytes for one in journals),
        unposted=[
            {**dataclasses.asdict(one), "time": None if one.time is None else moments.iso(one.time), "text": str(one)}
            for one in left_in(run_dir)
        ],
        nodes=nodes,
        log=[
            line
            for path in (place / "collector.log", *sorted((place / "nodes").glob("*/collector.log")))
            for line in _last_lines(path)
        ],
        destinations=list(_destinations(run_dir, nodes)),
        uploads=list(_uploads(run_dir, nodes)),
        unconfirmed=asked.unconfirmed(run_dir),
        losses=[dataclasses.asdict(loss) for loss in info.losses],
        damage=damage(info.losses, info.unreadable),
        notes=[{**note.payload, "time": moments.iso(note.time)} for note in reader.records("note")][-20:],
        poison=sorted(path.name for path in (place / "poison").glob("*")),
        filesystems=filesystems(("run", run_dir), *_journal_places(journals, place)),
    )
    report.advice = list(_advice(report))
    return report


def loss_text(loss: Mapping[str, Any]) -> str:
    """A loss, or a refusal, in words."""
    if loss["kind"] == "refused":
        return f"refused: {loss['count']:,} of {loss['name']} ({loss['reason']})"
    if loss["bytes"]:
        return f"lost: {loss['count']:,} rows of {loss['name']}, {loss['kind']} ({loss['reason']})"
    return f"lost: {loss['count']:,} {loss['kind']} {loss['name']} ({loss['reason']})"


def _journals(run_dir: Path) -> Iterator[Journal]:
    place = run_dir / ".steno" / "journal"
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(place)):
            if name.endswith(pointers.SUFFIX):
                yield _elsewhere(run_dir, place / name)
            elif (place / name).is_dir() and not (place / name).is_symlink():
                yield _journal(name, place / name)


def _elsewhere(run_dir: Path, pointer: Path) -> Journal:
    said = pointers.read(run_dir, pointer)
    if not said.problem and said.is_here and not said.is_gone:
        return _journal(said.stream, said.dir)
    gone = "its directory is gone, with what was not posted" if said.is_here else f"on host {said.host}"
    return Journal(said.stream, str(said.dir), False, 0, 0, 0, said.problem or gone)


def _journal(stream: str, place: Path) -> Journal:
    from steno.journal import life

    size = unposted = segments = 0
    problems: list[str] = []
    for path in sorted(place.glob("*.seg")):
        # A segment may be unlinked between the listing and the look: then it is posted.
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_blocks * 512
            segments += 1
            try:
                unposted += _unposted(path)
            except (CorruptError, ValueError) as error:
                problems.append(str(error))
    # Closing its own lock file would drop a process's lock, so a run of this very process is not asked.
    alive = f"-{os.getpid()}-" in stream or life.is_alive(place)
    return Journal(stream, str(place), alive, segments, size, unposted, "; ".join(problems))


def _unposted(path: Path) -> int:
    """Bytes of good frames in a segment that are not in the ledger yet."""
    from steno.journal import format as fmt
    from steno.journal.tailer import Tailer

    with open(inside.opened(path), "rb") as file:
        head = file.read(fmt.HEADER_BYTES)
    if not any(head[:8]):
        return 0
    posted: int = max(fmt.U64.unpack_from(head, fmt.POSTED_AT)[0], fmt.HEADER_BYTES)
    tailer = Tailer(path, posted, writable=False)
    try:
        while tailer.read() is not None:
            pass
        return tailer.offset - posted
    finally:
        tailer.close()


def _nodes(run_dir: Path) -> Iterator[dict[str, Any]]:
    place = run_dir / ".steno" / "nodes"
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(place)):
            if inside.node(name) is None:
                continue
            status = statusfile.read(place / name)
            yield {
                "node": name,
                "host": files.read_json(place / name / "node.json").get("host", ""),
                "collector": "running" if host.holder(place / name / "collector.lock") is not None else "not running",
                "status_age_secs": _age(place / name / statusfile.FILE),
                "status": status,
            }
    # A run that has ended well has put its machinery away, with what its collectors said last.
    for path, text in sorted(machinery.packed(run_dir).items()):
        folder, name, file = (*path.split("/"), "", "")[:3]
        if folder == "nodes" and file == statusfile.FILE and inside.node(name) is not None:
            status = statusfile.parsed(text)
            yield {
                "node": name,
                "host": status.get("host", ""),
                "collector": "not running",
                "status_age_secs": None,
                "status": status,
            }


def _age(path: Path) -> float | None:
    try:
        return max(time.time() - path.stat().st_mtime, 0.0)
    except OSError:
        return None


def _last_lines(path: Path) -> list[str]:
    try:
        with open(inside.opened(path), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 8192, 0))
            return file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except (OSError, CorruptError):
        return []


def _destinations(run_dir: Path, nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """As each node's collector says in its status; one that no collector has met yet is listed too."""
    met = set()
    for node in nodes:
        for name, health in node["status"].get("destinations", {}).items():
            met.add(name)
            yield {"node": node["node"], "name": name, **health}
    known = asked.destinations(run_dir)
    for name in asked.all_destinations(run_dir):
        if name not in met:
            yield {"node": None, "name": name, "state": "not begun" if name in known else "not confirmed"}


def _uploads(run_dir: Path, nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """As each node's collector says in its status; a store that none has met yet is listed too."""
    met = [{"node": node["node"], **node["status"]["uploads"]} for node in nodes if node["status"].get("uploads")]
    stores = asked.stores(run_dir)
    if stores and not met:
        yield {"node": None, "state": "not begun", "stores": stores}
    yield from met


def _journal_places(journals: list[Journal], place: Path) -> list[tuple[str, Path]]:
    outside = {Path(one.place).parent for one in journals if not one.place.startswith(str(place))}
    return [("journals", path) for path in sorted(outside)]


def _advice(report: Report) -> Iterator[str]:
    """What to do, the most urgent first."""
    collecting = any(node["collector"] == "running" for node in report.nodes)
    here = {one.stream for one in report.journals if not one.problem.startswith("on host")}
    hosts = {node["node"]: node["host"] for node in report.nodes}
    elsewhere = [one for one in report.unposted if one["host"] != host.name()]
    quoted = shlex.quote(str(report.dir))
    sync = f"steno sync {quoted}"
    for one in elsewhere:
        if one["is_reachable"]:
            yield f"{one['text']}: if that host is gone, steno sync --adopt {quoted}"
        elif report.state not in {"running", ""}:
            yield f"{one['text']}: {sync}, there"
    if report.unposted_bytes and not collecting and len(elsewhere) < len(report.unposted):
        yield f"no collector runs and journals hold records that are not posted: {sync}"
    elif not report.nodes and here:
        yield f"no collector has ever run here: {sync}"
    for one in report.destinations:
        if one.get("state") == "stopped":
            yield f"{one['name']} has given up: {one.get('error')}; mend its options, then {sync}"
        elif one.get("error") and one.get("lag"):
            yield f"{one['name']} is behind by {one['lag']} records and says: {one['error']}"
        elif one.get("lag") and not collecting and hosts.get(one["node"], host.name()) != host.name():
            yield f"{one['name']} lacks {one['lag']} records of host {hosts[one['node']]}, which delivers them itself"
        elif one.get("lag") and not collecting:
            yield f"{one['name']} lacks {one['lag']} records: {sync}"
    waiting = sum((node["status"].get("artifacts") or {}).get("waiting", 0) for node in report.nodes)
    if waiting and not collecting:
        yield f"{waiting} artifacts are not stored yet: {sync}"
    for place in report.unconfirmed:
        yield asked.line(Path(report.dir), place)
    for one in report.uploads:
        if one["state"] == "stopped":
            yield f"uploads have given up: {one.get('error')}; then {sync}"
        elif one["state"] == "retrying":
            yield f"uploads are tried again, the store says: {one.get('error')}"
        if one["state"] != "complete" and not collecting:
            yield f"not all of the run is in its object store: {sync}"
    for file_system in report.filesystems:
        if file_system.free_bytes < 1 << 30:
            yield f"only {file_system.free_bytes >> 20} MiB are free at {file_system.path}"
    damaged = [loss["name"] for loss in report.losses if loss["kind"] == DAMAGED]
    for line in report.damage:
        if not any(name in line for name in damaged):
            yield f"{line}; what is there is read"
    if report.poison:
        yield f"{len(report.poison)} pieces of journal were set aside in .steno/poison; please report them"
    for loss in report.losses:
        if loss["kind"] == DAMAGED:
            yield f"{loss['name']} is damaged: put an intact copy in its place; what is good of it is read meanwhile"
    for journal in report.journals:
        if journal.problem and not journal.problem.startswith("on host"):
            yield f"journal {journal.stream}: {journal.problem}"
