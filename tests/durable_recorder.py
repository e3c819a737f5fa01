"""Stands in place of `steno.files.system`: writes down each step, can fail at any, and replays any prefix as a power loss.

    with Recorder(run_dir, ledger=ledger) as recorder:
        ...
    for step, loss in recorder.states():
        recorder.power_loss(step, target, loss)

What is modelled, where a disk may keep less than it was given:

- A name (made, renamed, linked, unlinked) is on the disk once its directory was synced, or a file that has the name or
  lies below it: ext4, XFS and Btrfs do so. A rename is one step, whole or not at all. Until then a power loss may undo
  it, and with it all that came after: these file systems write names in the order in which they were given.
- A file's bytes are on the disk as they were at its last sync, before or after any name. What came since may be
  missing, torn or there.
- What lay there when the recorder came is on the disk. A directory that is made is there at once, since one that is
  lost takes with it only what was not synced.
- Bytes and names that go past the door (mapped journals, what pyarrow writes) are found by looking at the whole tree
  before each step. They are treated like all others: not on the disk until somebody syncs them.
- SQLite's own writes are not seen. The ledger is copied, through SQLite, whenever it has changed. A copy is on the
  disk when we have synced the -wal behind it, or when SQLite has emptied or removed the -wal, which it does after
  syncing. Until then a power loss may leave the ledger as it was at any moment since.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import os
import random
import sqlite3
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from steno import files

_STEP = ("step",)
_SETTLED = ("settled",)


@dataclass(frozen=True)
class Loss:
    """What becomes of unsynced names, bytes and postings: kept (True), lost (False), or drawn by lot (None)."""

    names: bool | None
    bytes: bool | None
    ledger: bool | None
    seed: int = 0


LOST = Loss(names=False, bytes=False, ledger=False)
KEPT = Loss(names=True, bytes=True, ledger=True)
ALL = [Loss(*kept) for kept in itertools.product((False, True), repeat=3)]


def drawn(seed):
    """The last names, each file and the ledger fare as the dice have it."""
    return Loss(names=None, bytes=None, ledger=None, seed=seed)


@dataclass(frozen=True)
class Step:
    """One call: create, write, fsync, rename, link, unlink, rmdir or rmtree; paths are relative to the root."""

    call: str
    path: str
    to: str = ""

    def __str__(self):
        return f"{self.call} {self.path}" + (f" -> {self.to}" if self.to else "")


class PowerOffError(BaseException):
    """Raised at the step `die_at` and at each later one: no handler of a dead machine gets anything done."""


@dataclass
class _Disk:
    """The tree as it is (`names`, `data`) and as it is on the disk (`base`, `synced`), by identities, not paths."""

    names: dict = field(default_factory=dict)
    """(directory, name) -> identity, or None when it was taken away"""
    base: dict = field(default_factory=dict)
    pending: list = field(default_factory=list)
    """What names have changed since, in order: [{(directory, name): identity or None}, one for each step]"""
    data: dict = field(default_factory=dict)
    synced: dict = field(default_factory=dict)
    dirs: set = field(default_factory=set)
    ledgers: list = field(default_factory=lambda: [None])
    """The copy that is on the disk, and those since."""

    def apply(self, line):
        if line == _SETTLED:
            self.base, self.pending, self.synced = dict(self.names), [], dict(self.data)
            self.ledgers = self.ledgers[-1:]
        elif line != _STEP:
            kind, *facts = line
            getattr(self, f"_{kind}")(*facts)

    def _dir(self, id):
        self.dirs.add(id)

    def _made_dir(self, key, id):
        self.names[key] = self.base[key] = id

    def _names(self, changes):
        self.names.update(changes)
        self.pending.append(changes)

    def _bytes(self, id, data):
        self.data[id] = data

    def _sync(self, id):
        if id in self.dirs:
            self._keep(lambda key, _: key[0] == id)
            return
        self.synced[id] = self.data.get(id, b"")
        path = set().union(*(self._path(directory) for (directory, _), one in self.names.items() if one == id))
        self._keep(lambda _, one: one == id or one in path)

    def _path(self, directory):
        """The directory and those above it."""
        above = {one: up for (up, _), one in self.names.items() if one in self.dirs}
        path = {directory}
        while directory in above:
            path.add(directory := above[directory])
        return path

    def _keep(self, is_meant):
        """Put the steps on the disk that changed such a name."""
        kept, waiting = {}, []
        for changes in reversed(self.pending):
            if any(is_meant(key, id) for key, id in changes.items()):
                kept = {**changes, **kept}
            elif left := {key: id for key, id in changes.items() if key not in kept}:
                waiting.append(left)
        self.base.update(kept)
        self.pending = waiting[::-1]

    def _ledger(self, copy):
        self.ledgers.append(copy)

    def _ledger_synced(self, directory):
        self.ledgers = self.ledgers[-1:]
        path = self._path(directory)
        self._keep(lambda _, one: one in path)

    def after(self, loss):
        """(names, bytes, ledger) that a power loss leaves."""
        draw = random.Random(loss.seed)

        names = dict(self.base)
        most = len(self.pending)
        for changes in self.pending[: draw.randint(0, most) if loss.names is None else most * loss.names]:
            names.update(changes)
        names = {key: id for key, id in names.items() if id is not None}
        data = {}
        for id in sorted(set(names.values()) - self.dirs):
            now, old = self.data.get(id, b""), self.synced.get(id, b"")
            left = (old, now[: len(now) // 2] + old[len(now) // 2 :], now) if old != now else (now,)
            data[id] = draw.choice(left) if loss.bytes is None else left[-1 if loss.bytes else 0]
        ledger = draw.choice(self.ledgers) if loss.ledger is None else self.ledgers[-1 if loss.ledger else 0]
        return names, data, ledger


class Recorder:
    """Records what passes `steno.files` below `root` while it is entered; what is elsewhere is done and not recorded.

    Thread-safe; the steps of several threads stand in the order in which they were done.

    Args:
        root: the directory that is watched.
        ledger: SQLite's file below it, if there is one; of a path with a `*` the one that will be there.
        fail_at: the step, counted from 0, that raises OSError once instead of being done.
        die_at: the step that raises PowerOffError, as all do from then on.
        error: the errno of `fail_at`.
    """

    def __init__(self, root, *, ledger=None, fail_at=None, die_at=None, error=errno.EIO):
        self.root = Path(root).resolve()
        self.steps = []
        self._sought, self._found = ledger, None
        self._fail_at, self._die_at, self._error = fail_at, die_at, error
        self._lock = threading.RLock()
        self._log = []
        """What was seen and done, in order; _STEP stands before what a step did."""
        self._now = _Disk()
        self._ids = {}
        """(device, inode) -> identity, while it has a name: inodes come again."""
        self._numbers = itertools.count(1)
        self._stamp = None

    @property
    def _ledger(self):
        if self._found is None and self._sought is not None:
            path = Path(self._sought).resolve()
            found = sorted(Path("/").glob(str(path)[1:])) if "*" in str(path) else [path]
            self._found = found[0] if found else None
        return self._found

    def __enter__(self):
        root = os.stat(self.root)
        self._ids[root.st_dev, root.st_ino] = 0
        self._tell("dir", 0)
        self._see()
        self._log.append(_SETTLED)
        self._now.apply(_SETTLED)
        self._before, files.system = files.system, self
        return self

    def __exit__(self, *_):
        files.system = self._before
        with self._lock:
            self._see()

    # -- what `files` calls ----------------------------------------------------------------------------------

    def open(self, path, flags, mode=0o777):
        if os.path.lexists(path):
            return os.open(path, flags, mode)
        with self._step("create", path):
            return os.open(path, flags, mode)

    def write(self, fd, data):
        with self._step("write", _path_of(fd)):
            return os.write(fd, data)

    def fsync(self, fd):
        self._sync(fd, os.fsync)

    def fdatasync(self, fd):
        self._sync(fd, os.fdatasync)

    def _sync(self, fd, call):
        path = _path_of(fd)
        with self._step("fsync", path) as counts:
            call(fd)
            if counts and self._ledger is not None and path == f"{self._ledger}-wal":
                self._tell("ledger_synced", self._id(os.stat(self._ledger.parent)))
            elif counts:
                self._tell("sync", self._id(os.fstat(fd)))

    def rename(self, old, new):
        with self._step("rename", old, new):
            os.replace(old, new)
            self._change((old, None), (new, os.lstat(new)))

    def link(self, old, new):
        with self._step("link", old, new):
            os.link(old, new)
            self._change((new, os.lstat(new)))

    def unlink(self, path):
        with self._step("unlink", path):
            os.unlink(path)
            self._change((path, None))

    def rmdir(self, path):
        with self._step("rmdir", path):
            os.rmdir(path)
            self._change((path, None))

    def rmtree(self, path):
        with self._step("rmtree", path):
            self._before.rmtree(path)
            self._see()  # what is made next may have the inodes of what went

    # -- what tests ask --------------------------------------------------------------------------------------

    @property
    def has_failed(self):
        """Whether `fail_at` was reached."""
        return self._fail_at is None

    def index(self, pattern, after=-1):
        """The number of the first step behind `after` that reads like the pattern ("fsync metrics/*.tmp")."""
        for number, step in enumerate(self.steps):
            if number > after and fnmatch.fnmatchcase(str(step), pattern):
                return number
        raise AssertionError(f"no step {pattern!r} behind {after} among\n  " + "\n  ".join(map(str, self.steps)))

    def states(self, losses=ALL):
        """(how many steps were done, the loss) of each power loss that leaves something of its own."""
        seen = set()
        for step in range(len(self.steps) + 1):
            disk = self._at(step)
            for loss in losses:
                names, data, ledger = disk.after(loss)
                whole = frozenset(names.items()), frozenset(data.items()), ledger
                if whole not in seen:
                    seen.add(whole)
                    yield step, loss

    def power_loss(self, step, target, loss=LOST):
        """Write to `target` what is on the disk when the power goes after so many steps, before the next one."""
        target = Path(target)
        names, data, ledger = self._at(step).after(loss)
        below, laid = {}, {}
        for (directory, name), id in names.items():
            below.setdefault(directory, []).append((name, id))

        def lay(directory, place):
            place.mkdir(parents=True)
            for name, id in below.get(directory, ()):
                if id in self._now.dirs:
                    lay(id, place / name)
                elif id in laid:
                    os.link(laid[id], place / name)
                else:
                    (place / name).write_bytes(data[id])
                    laid[id] = place / name

        lay(0, target)
        if ledger is not None:
            place = target / self._ledger.relative_to(self.root)
            if place.parent.is_dir():
                place.write_bytes(ledger)
        return target

    # -- the inside ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, call, path, to=""):
        """Around one call; whether it counts."""
        path, to = os.path.abspath(path), os.path.abspath(to) if to else ""
        if not self._is_below(path) and not self._is_below(to):
            yield False
            return
        with self._lock:
            number = len(self.steps)
            if self._die_at is not None and number >= self._die_at:
                raise PowerOffError
            self._see()
            if number == self._fail_at:
                self._fail_at = None
                raise OSError(self._error, os.strerror(self._error), path)
            self._log.append(_STEP)
            try:
                yield True
            except OSError:
                self._log.pop()  # nothing was done
                raise
            self.steps.append(Step(call, self._shown(path), self._shown(to)))

    def _at(self, step):
        disk, done = _Disk(), 0
        for line in self._log:
            done += line == _STEP
            if done > step:
                break
            disk.apply(line)
        return disk

    def _is_below(self, path):
        return path.startswith(f"{self.root}/") or path == str(self.root)

    def _shown(self, path):
        return os.path.relpath(path, self.root) if path and self._is_below(path) else path

    def _tell(self, *line):
        self._log.append(line)
        self._now.apply(line)

    def _change(self, *changes):
        """Names that a call gave (with the state of what has them) or took away (None)."""
        found = {}
        for path, state in changes:
            path = os.path.abspath(path)
            if self._is_below(path):
                parent, name = os.path.split(path)
                found[self._id(os.stat(parent)), name] = None if state is None else self._id(state)
        if found:
            self._tell("names", found)
            self._forget()

    def _id(self, state):
        key = state.st_dev, state.st_ino
        if key not in self._ids:
            self._ids[key] = next(self._numbers)
            if stat.S_ISDIR(state.st_mode):
                self._tell("dir", self._ids[key])
        return self._ids[key]

    def _forget(self):
        held = {*self._now.names.values(), 0}
        self._ids = {key: id for key, id in self._ids.items() if id in held}

    def _see(self):
        """Look at the whole tree, and note what has changed past the door."""
        there, waiting = {}, [(0, str(self.root))]
        while waiting:
            directory, place = waiting.pop()
            try:
                entries = list(os.scandir(place))
            except FileNotFoundError:
                continue
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    if self._is_ledger(entry.path) or not (stat.S_ISDIR(state.st_mode) or stat.S_ISREG(state.st_mode)):
                        continue
                    id = there[directory, entry.name] = self._id(state)
                    if stat.S_ISDIR(state.st_mode):
                        waiting.append((id, entry.path))
                        continue
                    # A lock's file is empty, and to open and close it would drop this process's lock.
                    data = Path(entry.path).read_bytes() if state.st_size else b""
                    if self._now.data.get(id) != data:
                        self._tell("bytes", id, data)
        for key, id in there.items():
            if self._now.names.get(key) != id:
                self._tell(*(("made_dir", key, id) if id in self._now.dirs else ("names", {key: id})))
        for key in [key for key, id in self._now.names.items() if id is not None and key not in there]:
            self._tell("names", {key: None})
        self._forget()
        if self._ledger is not None and self._ledger.exists():
            self._see_ledger()

    def _is_ledger(self, path):
        return self._ledger is not None and (path == str(self._ledger) or path.startswith(f"{self._ledger}-"))

    def _see_ledger(self):
        main, wal = (_stamp(path) for path in (self._ledger, f"{self._ledger}-wal"))
        if self._stamp == (main, wal):
            return
        try:
            # Through SQLite: to open and close the file ourselves would drop SQLite's locks.
            connection = sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=10)
            try:
                copy = connection.serialize()
            finally:
                connection.close()
        except sqlite3.Error:
            return  # it is being made
        self._stamp = main, wal
        if copy != self._now.ledgers[-1]:
            self._tell("ledger", copy)
        if wal is None or wal[0] == 0:
            self._tell("ledger_synced", self._id(os.stat(self._ledger.parent)))


def _stamp(path):
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    return state.st_size, state.st_mtime_ns


def _path_of(fd):
    return os.readlink(f"/proc/self/fd/{fd}")
