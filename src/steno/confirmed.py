"""Where this user has said that a run may go: what a run itself names is contacted only if it stands here.

A run may come from a stranger. So whoever names a store or a service for a run, in `init` or on the command line of
`sync`, has it noted in a small file of his own; whoever finds it named by the run alone looks here first.

    $XDG_STATE_HOME/steno/confirmed/<digest of run and place>     {"run": the run's id, "place": "s3://bucket/prefix"}

One file for each, so that processes of one home need no lock, on whatever machine they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside
from steno.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST: Final = 4096
"""Beyond so many the oldest quarter is forgotten; each is asked for once more then."""
_LARGEST_BYTES: Final = 1 << 16


def text_of(name: str, options: Mapping[str, Any] | None = None) -> str:
    """A destination as it is confirmed, by its name and all its options: `wandb {"mode": "offline"}`."""
    return f"{name} {json.dumps(options, sort_keys=True)}" if options else name


def place_of(text: str) -> str:
    """What `text_of` would have made of the same, as a person may write it; a URL is itself.

    Raises:
        UsageError: what stands behind the name are no options.
    """
    name, _, rest = text.strip().partition(" ")
    if "://" in text or not rest:
        return text.strip().rstrip("/") if "://" in text else name
    try:
        options = json.loads(rest)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise UsageError(f'{text!r} is no destination with options: write it as in wandb {{"mode": "offline"}}')
    return text_of(name, options)


def note(run_id: str, place: str) -> str:
    """Write down that this user has named the place for the run; what is wrong where it cannot be, or ""."""
    if not run_id:
        return "the run has no id"
    data = _content(run_id, place)
    if len(data) > _LARGEST_BYTES:
        return f"{len(data):,} bytes are too many"
    wrong = []
    for folder in _folders():
        try:
            _make(folder)
            path = folder / _name(run_id, place)
            if _is_noted(path, data):
                os.utime(path)
                return ""
            _forget(folder)
            files.unlink(path, missing_ok=True)
            with contextlib.suppress(FileExistsError):  # another process, in this moment
                files.write_new(path, data, mode=0o600)
        except OSError as error:
            wrong.append(f"{folder}: {error.strerror or error}")
            continue
        return ""
    return "; ".join(wrong)


def has(run_id: str, place: str) -> bool:
    """Whether this user has named the place for the run."""
    data, name = _content(run_id, place), _name(run_id, place)
    return bool(run_id) and any(_is_safe(folder) and _is_noted(folder / name, data) for folder in _folders())


def covers(run_id: str, url: str) -> bool:
    """Whether this user has named for the run the store that the URL lies in."""
    if ".." in url.split("/"):
        return False
    while url and not url.endswith("/"):
        if has(run_id, url):
            return True
        url = url.rpartition("/")[0]
    return False


def _content(run_id: str, place: str) -> bytes:
    return (json.dumps({"run": run_id, "place": place}) + "\n").encode()


def _name(run_id: str, place: str) -> str:
    return hashlib.sha256(_content(run_id, place)).hexdigest()[:40]


def _folders() -> Iterator[Path]:
    """Where it may stand, the best place first: a home can be missing, full or read-only."""
    state, runtime = os.environ.get("XDG_STATE_HOME"), os.environ.get("XDG_RUNTIME_DIR")
    if state:
        yield Path(state, "steno", "confirmed")
    else:
        with contextlib.suppress(RuntimeError, KeyError):  # nobody knows this user's home
            yield Path.home() / ".local" / "state" / "steno" / "confirmed"
    if runtime:
        yield Path(runtime, "steno", "confirmed")
    import tempfile

    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir(), f"steno-{os.geteuid()}", "confirmed")


def _make(folder: Path) -> None:
    """Have the directory be there, and be nobody else's.

    Raises:
        OSError: it cannot be made, or others can write it.
    """
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    for place in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        facts = os.lstat(place)
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and stat.S_IMODE(facts.st_mode) & 0o077:
            os.chmod(place, 0o700)
        if not _is_safe(place):
            raise PermissionError(1, "it is not this user's alone")


def _is_safe(place: Path) -> bool:
    """Whether it is a directory that this user alone can write."""
    try:
        facts = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not stat.S_IMODE(facts.st_mode) & 0o022


def _is_noted(path: Path, data: bytes) -> bool:
    try:
        facts = os.lstat(path)
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o022:
            return False
        return inside.read(path, _LARGEST_BYTES) == data
    except (OSError, CorruptError):
        return False


def _forget(folder: Path) -> None:
    """Remove the oldest where there are too many."""
    entries = files.scan(folder)
    if len(entries) < MOST:
        return
    ages = []
    for entry in entries:
        with contextlib.suppress(OSError):
            ages.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
    for _, path in sorted(ages)[: len(entries) - MOST + MOST // 4]:
        with contextlib.suppress(OSError):
            files.unlink(path)
