"""Which run directory, and which attempt of it, this process belongs to."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from steno import files, host, inside, machinery, runfile
from steno.capture.start.launcher import digest
from steno.capture.start.liveness import is_live
from steno.errors import RunExistsError, RunNotFoundError, UsageError
from steno.journal.place import excess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from steno.capture.start.launcher import Launch
    from steno.capture.start.request import Resume

_LOCK_SECS: Final = 10.0
"""How long `init` waits for another `init`; then it goes on without the lock, as on a disk that has none."""
_BIRTH_SECS: Final = 10.0
_JOB_SECS: Final = 600.0


@dataclass(frozen=True, slots=True)
class RecordingPlace:
    """Where this process records: the run, its directory and the attempt."""

    dir: Path
    name: str
    attempt: int
    born: bool
    """This process made the run."""
    opened: bool
    """This process opened the attempt; otherwise it joined one."""
    rewind: int | None
    """Of the attempt, whoever opened it."""


@dataclass(frozen=True, slots=True)
class AttemptFile:
    """One file of `.steno/attempts`."""

    number: int
    token: str
    job: str
    restart: int
    started: float
    rewind: int | None
    host: str


def claim_attempt(
    project_dir: Path,
    wanted: str,
    launch: Launch,
    *,
    resume: Resume,
    rewind: int | None,
    turn: int,
    describe: Callable[[Path, str], None],
    say: Callable[[str, str], None],
    meets: bool = True,
    is_open: Callable[[Path], bool] = lambda _: False,
) -> RecordingPlace:
    """Find or make the run, and find or open its attempt. Call under `exclusive(project_dir)`.

    Args:
        wanted: the run's name; by default an ended run of this name stands aside for `wanted-2`, `-3`, …
        turn: how many runs of this name this process has had: a job that records several runs one after
            the other has each of them once.
        describe: writes `run.json` into the directory of a run that is being made.
        say: called with (key, message).
        meets: whether a live run of this name is joined, and one that this start of the job was in. A process
            that is its whole job has nobody to meet: in one `srun --pty bash` program after program has the same
            variables.
        is_open: whether a run is open in this very process, whose locks `is_live` cannot look at. It is joined where
            `resume` or `rewind` asks for it, and stands aside else: who begins two runs together wants two.

    Raises:
        RunNotFoundError: `resume=True`, or `rewind` without `resume="allow"`, and the run is not there.
        RunExistsError: `resume=False`, and it is.
        CorruptError: something in its machinery is a link, or no file.
        OSError: the directory cannot be written.
        UsageError: its path is too long.
    """
    goes_on = bool(resume) or rewind is not None
    token = f"{launch.token}#{turn}" if launch.token and meets else ""
    for suffix in count(1):
        name = wanted if suffix == 1 else f"{wanted}-{suffix}"
        run_dir = project_dir / name
        require_room(run_dir)
        if _empty(run_dir):
            if resume is True or (rewind is not None and resume is None):
                raise _missing(run_dir, "rewind" if rewind is not None else "resume=True")
            if not _bear(run_dir, attempt_facts(1, token, launch, None), describe):
                # Another machine made it in this moment: look again.
                return claim_attempt(
                    project_dir, wanted, launch, resume=resume, rewind=rewind, turn=turn, describe=describe, say=say,
                    meets=meets, is_open=is_open,
                )  # fmt: skip
            if suffix > 1:
                why = "has ended" if meets else "is another program's"
                why = "is open in this process" if is_open(project_dir / wanted) else why
                say("name", f"the run {wanted!r} {why}: this one is {name!r}; resume=True would go on with the old one")
            return RecordingPlace(run_dir, name, 1, born=True, opened=True, rewind=None)
        if not is_run(run_dir):
            if resume is not None or rewind is not None:
                msg = f"{run_dir} is there but holds no run: choose another name= or dir="
                raise (RunExistsError if resume is False else RunNotFoundError)(msg)
            continue
        inside.check(run_dir)
        if goes_on or _is_asked_for(machinery.packed(run_dir), token, launch):
            machinery.restore(run_dir)
        if goes_on or resume is None:
            try:
                runfile.require_format(run_dir, writing=True)
            except UsageError:
                if goes_on:
                    raise
                continue  # another steno's, next to which this one is put
        latest = attempts(run_dir)[-1:]
        live = is_live(run_dir) or is_awaited(run_dir, latest)
        mine = _of_token(run_dir, token)
        if mine is not None:
            recent = mine.host != host.name() and time.time() - mine.started < _JOB_SECS
            if launch.unique or live or recent:
                return RecordingPlace(run_dir, name, mine.number, born=False, opened=False, rewind=mine.rewind)
        again = bool(latest and launch.job and latest[0].job == launch.job and launch.restart > latest[0].restart)
        if not again:
            if resume is False:
                msg = (
                    f"the run {name!r} exists already in {project_dir}: choose another name=, or leave out resume=False"
                )
                raise RunExistsError(msg)
            if (live and (meets or goes_on)) or (goes_on and is_open(run_dir)):
                number, hidden = (latest[0].number, latest[0].rewind) if latest else (1, None)
                if rewind is not None and rewind != hidden:
                    say(
                        "rewind",
                        f"rewind={rewind} is ignored: the run {name!r} is live, and rewinding opens a new attempt",
                    )
                claim_token(run_dir, token, number)
                return RecordingPlace(run_dir, name, number, born=False, opened=False, rewind=hidden)
        if again or goes_on:
            return open_next(run_dir, name, token, launch, rewind)
    raise AssertionError  # count() does not end


def _is_asked_for(held: Mapping[str, str], token: str, launch: Launch) -> bool:
    """Whether a run that has put its machinery away is this start's of its job, or this job's."""
    has_started = any(name.startswith("jobs/") and bool(token) and token in text for name, text in held.items())
    return has_started or any(
        name.startswith("attempts/") and bool(launch.job) and launch.job in text for name, text in held.items()
    )


def open_next(run_dir: Path, name: str, token: str, launch: Launch, rewind: int | None) -> RecordingPlace:
    """A new attempt; when another machine opens the same number first, the one it opened."""
    number = max(max((item.number for item in attempts(run_dir)), default=0), _latest_shared(run_dir)) + 1
    # Synced: its number, given again after a power loss, would mix two attempts' points.
    facts = attempt_facts(number, token, launch, rewind)
    opened = files.create_json(attempt_path(run_dir, number), facts, sync=True)
    if not opened:
        theirs = next((item for item in attempts(run_dir) if item.number == number), None)
        rewind = theirs.rewind if theirs else rewind
    claim_token(run_dir, token, number)
    return RecordingPlace(run_dir, name, number, born=False, opened=opened, rewind=rewind)


def _latest_shared(run_dir: Path) -> int:
    """The newest attempt that other hosts are known to have begun: a rewind hides what has a lower number."""
    found = (files.read_json(node / "shared.json").get("latest") for node in (run_dir / ".steno" / "nodes").glob("*"))
    return max((number for number in found if isinstance(number, int)), default=0)


def _missing(run_dir: Path, asked: str) -> RunNotFoundError:
    try:
        there = sorted(p.name for p in run_dir.parent.iterdir() if not p.name.startswith("."))
    except OSError:
        there = []
    import difflib

    near = difflib.get_close_matches(run_dir.name, there, 3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return RunNotFoundError(
        f"{asked} was given, but there is no run {run_dir.name!r} in {run_dir.parent}: check project=, name= and dir=, "
        f"or leave {asked.partition('=')[0]} out to begin it.{hint}"
    )


def _empty(run_dir: Path) -> bool:
    """Whether nothing is there; an empty directory is nothing."""
    try:
        with os.scandir(run_dir) as found:
            return next(found, None) is None
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def is_run(run_dir: Path) -> bool:
    """Whether the directory holds a run."""
    return (run_dir / "run.json").is_file() or (run_dir / ".steno").is_dir()


def _bear(run_dir: Path, first: dict[str, Any], describe: Callable[[Path, str], None]) -> bool:
    """Make the run; False when another machine was first.

    It is made next to its place and renamed, so that nobody meets half a run.
    """
    hidden = run_dir.with_name(f".new-{secrets.token_hex(6)}")
    hidden.mkdir()
    try:
        for part in ("journal", "attempts", "jobs", "destinations", "nodes"):
            (hidden / ".steno" / part).mkdir(parents=True)
        files.create_json(attempt_path(hidden, 1), first)
        claim_token(hidden, first["token"], 1)
        describe(hidden, run_dir.name)
        try:
            files.rename(hidden, run_dir)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                return False
            raise
        with contextlib.suppress(OSError):
            files.sync_dir(run_dir.parent)
        return True
    finally:
        if hidden.exists():
            files.remove_tree(hidden)


# -- attempts -----------------------------------------------------------------------------------------


def attempt_facts(number: int, token: str, launch: Launch, rewind: int | None) -> dict[str, Any]:
    """What the file of an attempt says."""
    return {
        "attempt": number,
        "token": token,
        "job": launch.job,
        "restart": launch.restart,
        "world_size": launch.world_size,
        "started": time.time(),
        "rewind": rewind,
        "host": host.name(),
        "pid": os.getpid(),
    }


def attempt_path(run_dir: Path, number: int) -> Path:
    """The file of an attempt."""
    return run_dir / ".steno" / "attempts" / f"{number:04d}.json"


def attempts(run_dir: Path) -> list[AttemptFile]:
    """The run's attempts in order; a file that cannot be read counts with its number alone."""
    found = []
    for path in (run_dir / ".steno" / "attempts").glob("*.json"):
        if inside.number(path.stem) is None:
            continue
        data = files.read_json(path)
        restart, started, rewind = data.get("restart"), data.get("started"), data.get("rewind")
        found.append(
            AttemptFile(
                number=int(path.stem),
                token=str(data.get("token", "")),
                job=str(data.get("job", "")),
                restart=restart if isinstance(restart, int) else 0,
                started=started if isinstance(started, float) else 0.0,
                rewind=rewind if isinstance(rewind, int) else None,
                host=str(data.get("host", "")),
            )
        )
    return sorted(found, key=lambda item: item.number)


def is_awaited(run_dir: Path, latest: list[AttemptFile]) -> bool:
    """Whether another machine has just opened the attempt and not started its journal."""
    if not latest or latest[0].host == host.name() or time.time() - latest[0].started > _BIRTH_SECS:
        return False
    return not files.scan(run_dir / ".steno" / "journal")


def _of_token(run_dir: Path, token: str) -> AttemptFile | None:
    """The attempt that this start of the job belongs to, once one of its processes was here."""
    if not token:
        return None
    number = files.read_json(_job_path(run_dir, token)).get("attempt")
    return next((item for item in attempts(run_dir) if item.number == number), None)


def claim_token(run_dir: Path, token: str, number: int) -> None:
    """Note which attempt this start of the job belongs to."""
    if token:
        files.create_json(_job_path(run_dir, token), {"token": token, "attempt": number})


def _job_path(run_dir: Path, token: str) -> Path:
    return run_dir / ".steno" / "jobs" / f"{digest(token).hex()[:20]}.json"


@contextlib.contextmanager
def exclusive(project_dir: Path) -> Iterator[None]:
    """One `init` at a time per project and machine, as far as the file system can lock.

    Raises:
        UsageError: the directory cannot be made or written.
    """
    try:
        project_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(project_dir, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # The directory itself is locked: a file would stay among the runs.
        fd = os.open(project_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise unwritable(project_dir, error) from error
    try:
        host.await_lock(fd, _LOCK_SECS)
        yield
    finally:
        os.close(fd)


def require_room(run_dir: Path) -> None:
    """Refuse a run whose ledger could not be opened.

    Raises:
        UsageError: the path is too long.
    """
    too_many = excess(run_dir)
    if too_many:
        raise UsageError(
            f"the run's directory has a path of {len(os.fsencode(os.path.realpath(run_dir)))} bytes, {too_many} more "
            f"than SQLite can open a ledger in: pass a shorter dir= or name= ({run_dir})"
        )


def unwritable(path: Path, error: OSError) -> UsageError:
    """The error for a place where runs cannot be kept."""
    return UsageError(
        f"runs cannot be kept in {path}: {error.strerror or error}. "
        "Pass dir= or set STENO_DIR to a directory you can write"
    )
