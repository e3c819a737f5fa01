"""Which run and which attempt a process belongs to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import run_programs

from steno import files, statusfile
from steno.capture.start import attempt
from steno.capture.start.launcher import Launch
from steno.capture.start.liveness import is_live
from steno.errors import RunExistsError, RunNotFoundError, UsageError
from steno.journal import pointers

HOLD = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
(fcntl.lockf if sys.argv[2] == "posix" else fcntl.flock)(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def recording(run_dir: Path, sort: str = "posix"):
    """Another process that holds a journal of the run, named by its pid as streams are."""
    with subprocess.Popen(
        [sys.executable, "-c", "import os, sys; print(os.getpid(), flush=True); exec(sys.stdin.readline()[:-1].replace(chr(1), chr(10)))"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        pid = int(process.stdout.readline())
        stream = run_dir / ".steno" / "journal" / f"{os.uname().nodename}-{pid}-00"
        stream.mkdir(parents=True)
        code = HOLD.replace("sys.argv[1]", repr(str(stream / "alive"))).replace("sys.argv[2]", repr(sort))
        process.stdin.write(code.replace("\n", chr(1)) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "held\n"
        try:
            yield stream
        finally:
            process.stdin.close()
            process.wait()


def settle(project: Path, name: str = "x", launch: Launch | None = None, *, said: list | None = None, **more):
    def describe(run_dir: Path, name: str) -> None:
        (run_dir / "run.json").write_text(json.dumps({"id": "i", "name": name}))

    said = [] if said is None else said
    options = {"resume": None, "rewind": None, "turn": 1, **more}
    with attempt.exclusive(project):
        return attempt.claim_attempt(
            project, name, launch or Launch(), describe=describe, say=lambda key, text: said.append(text), **options
        )


def test_a_new_run_is_born_whole(tmp_path):
    place = settle(tmp_path / "p")
    assert (place.dir, place.name, place.attempt, place.born) == (tmp_path / "p" / "x", "x", 1, True)
    first = json.loads((place.dir / ".steno" / "attempts" / "0001.json").read_text())
    assert first["attempt"] == 1
    assert first["rewind"] is None
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["x"]


def test_an_ended_run_stands_aside_and_it_is_said(tmp_path):
    said: list[str] = []
    assert [settle(tmp_path, said=said).name for _ in range(3)] == ["x", "x-2", "x-3"]
    assert len(said) == 2
    assert "resume=True" in said[0]


def test_a_live_run_is_joined(tmp_path):
    place = settle(tmp_path)
    with recording(place.dir):
        joined = settle(tmp_path)
        assert (joined.name, joined.attempt, joined.born, joined.opened) == ("x", 1, False, False)
        assert settle(tmp_path, resume=True).attempt == 1
        with pytest.raises(RunExistsError, match=r"resume=False"):
            settle(tmp_path, resume=False)
    assert settle(tmp_path).name == "x-2"


def test_resume_opens_an_attempt_and_rewind_is_kept_in_it(tmp_path):
    settle(tmp_path)
    assert settle(tmp_path, resume=True).attempt == 2
    third = settle(tmp_path, rewind=100)
    assert (third.attempt, third.opened, third.rewind) == (3, True, 100)
    assert [(a.number, a.rewind) for a in attempt.attempts(third.dir)] == [(1, None), (2, None), (3, 100)]
    with recording(third.dir):
        said: list[str] = []
        assert settle(tmp_path, rewind=100, said=said).rewind == 100
        assert said == []
        assert settle(tmp_path, rewind=50, said=said).attempt == 3
        assert "rewind=50 is ignored" in said[0]


def test_resume_and_rewind_need_the_run_and_name_the_near_one(tmp_path):
    settle(tmp_path, "digits")
    with pytest.raises(RunNotFoundError, match=r"no run 'digit' in .*Did you mean 'digits'"):
        settle(tmp_path, "digit", resume=True)
    with pytest.raises(RunNotFoundError, match="rewind was given"):
        settle(tmp_path, "digit", rewind=1)


def test_resume_false_refuses_what_is_there(tmp_path):
    settle(tmp_path, resume=False)
    with pytest.raises(RunExistsError, match="exists already"):
        settle(tmp_path, resume=False)


def test_a_directory_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("keep")
    with pytest.raises(RunNotFoundError, match="holds no run"):
        settle(tmp_path, resume=True)
    assert settle(tmp_path).name == "x-2"
    assert (tmp_path / "x" / "mine.txt").read_text() == "keep"


def test_an_empty_directory_is_nothing(tmp_path):
    (tmp_path / "x").mkdir()
    assert settle(tmp_path).name == "x"


JOB = Launch(kind="slurm", world_size=4, job="slurm:1.0", unique=True)


def test_a_late_rank_joins_its_job_even_when_the_others_have_ended(tmp_path):
    settle(tmp_path)
    first = settle(tmp_path, launch=JOB)
    assert first.name == "x-2"
    late = settle(tmp_path, launch=replace(JOB, rank=3))
    assert (late.name, late.attempt, late.opened) == ("x-2", 1, False)


def test_late_ranks_of_resume_and_of_resume_false_do_not_trip_over_the_first(tmp_path):
    assert settle(tmp_path, launch=JOB, resume=False).born
    assert settle(tmp_path, launch=replace(JOB, rank=1), resume=False).attempt == 1
    other = Launch(kind="slurm", world_size=4, job="slurm:2.0", unique=True)
    assert settle(tmp_path, launch=other, resume=True).attempt == 2
    assert settle(tmp_path, launch=replace(other, rank=1), resume=True).attempt == 2
    assert settle(tmp_path, launch=other, rewind=5, turn=2).attempt == 3
    assert settle(tmp_path, launch=replace(other, rank=1), rewind=5, turn=2).rewind == 5


def test_a_restarted_job_goes_on_in_a_new_attempt_of_its_run(tmp_path):
    from dataclasses import replace

    settle(tmp_path, launch=JOB)
    again = replace(JOB, restart=1)
    assert (settle(tmp_path, launch=again).name, settle(tmp_path, launch=replace(again, rank=2)).attempt) == ("x", 2)
    assert [a.restart for a in attempt.attempts(tmp_path / "x")] == [0, 1]


def test_a_job_whose_name_may_come_again_is_only_joined_while_live(tmp_path):
    weak = Launch(kind="torch", world_size=2, job="torch::localhost:1")
    place = settle(tmp_path, launch=weak)
    with recording(place.dir):
        assert settle(tmp_path, launch=replace(weak, rank=1)).name == "x"
    assert settle(tmp_path, launch=weak).name == "x-2"


ALONE = Launch(kind="slurm", job="slurm:7.0", alone=True)


@pytest.mark.parametrize("launch", [ALONE, dataclasses.replace(ALONE, unique=True)])
def test_a_process_that_is_its_whole_job_never_joins_an_equal_start(tmp_path, launch):
    said = []
    first = settle(tmp_path, launch=launch, meets=False)
    with recording(first.dir):
        assert settle(tmp_path, launch=launch, meets=False, said=said).name == "x-2"
        # Asked for, the two unite.
        assert settle(tmp_path, launch=launch, meets=False, resume=True).dir == first.dir
        assert settle(tmp_path, launch=launch).dir == first.dir
    assert "another program" in said[0]
    assert settle(tmp_path, launch=launch, meets=False).name == "x-3"
    assert settle(tmp_path, launch=dataclasses.replace(launch, restart=1), meets=False).attempt == 2


def test_two_programs_of_one_interactive_job_step_are_two_runs(tmp_path):
    code = """
import steno, sys
run = steno.init(project="p", dir=sys.argv[1])
run.log({"loss": 1.0})
print(run.name, flush=True)
sys.stdin.read()
"""
    step = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}

    def start(**more):
        return subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **step, **more},
        )  # fmt: skip

    started = []
    try:
        for more in ({}, {}, {"STENO_RUN": "mine"}, {"STENO_RUN": "mine"}, {"SLURM_RESTART_COUNT": "1"}):
            started.append(start(**more))
            started[-1].name = started[-1].stdout.readline().strip()
    finally:
        for process in started:
            process.communicate(timeout=60)
    assert [process.name for process in started] == ["slurm-7-0", "slurm-7-0-2", "mine", "mine", "slurm-7-0"]


def test_a_job_that_records_one_run_after_the_other_has_each_once(tmp_path):
    ranks = [replace(JOB, rank=rank) for rank in range(3)]
    names = [[settle(tmp_path, launch=rank, turn=turn).name for turn in (1, 2)] for rank in ranks]
    assert names == [["x", "x-2"]] * 3


def test_many_who_begin_at_once_meet_in_one_run(tmp_path):
    """Twelve ranks in threads and processes at once: one is born, all the others join."""
    found: list = []
    threads = [
        threading.Thread(target=lambda r=r: found.append(settle(tmp_path, launch=replace(JOB, rank=r))))
        for r in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {place.name for place in found} == {"x"}
    assert sum(place.born for place in found) == 1


def test_two_machines_that_bear_the_same_run_make_it_once(tmp_path):
    """Without the lock, which other machines do not see."""
    born = []

    def bear() -> None:
        first = attempt.attempt_facts(1, "", Launch(), None)
        born.append(attempt._bear(tmp_path / "x", first, lambda d, name: (d / "run.json").write_text("{}") and None))

    threads = [threading.Thread(target=bear) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(born) == [False] * 7 + [True]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_attempt_of_another_machine_that_has_not_begun_is_live(tmp_path):
    place = settle(tmp_path)
    path = place.dir / ".steno" / "attempts" / "0001.json"
    first = json.loads(path.read_text())
    path.write_text(json.dumps({**first, "host": "elsewhere"}))
    assert settle(tmp_path).name == "x"
    path.write_text(json.dumps({**first, "host": "elsewhere", "started": time.time() - 60}))
    assert settle(tmp_path).name == "x-2"


def test_liveness_sees_only_the_streams_own_process(tmp_path):
    with recording(tmp_path) as stream:
        assert is_live(tmp_path)
        # The same lock under another process's name: a collector that looks, not a writer.
        stream.rename(stream.with_name(f"{os.uname().nodename}-1-00"))
        assert not is_live(tmp_path)
        stream.with_name(f"{os.uname().nodename}-1-00").rename(stream)
        assert is_live(tmp_path)
    assert not is_live(tmp_path)
    assert not is_live(tmp_path / "nothing")


def test_a_journal_elsewhere_is_found_by_its_pointer(tmp_path):
    run_dir, copy = tmp_path / "run", tmp_path / "copy"
    run_dir.mkdir()
    with recording(tmp_path / "shm") as stream:
        place = stream.rename(tmp_path / pointers.directory(stream.name))
        pointers.write(run_dir, stream.name, place)
        assert is_live(run_dir)
        # A copy of a run is another one, and the journal of the original is not its own; a run that is moved is itself.
        shutil.copytree(run_dir, copy)
        assert not is_live(copy)
        run_dir.rename(tmp_path / "moved")
        assert is_live(tmp_path / "moved")
    assert not is_live(tmp_path / "moved")


@pytest.mark.parametrize(("hours", "lives"), [(0, True), (-1, False), (1, False), (24, False)])
def test_a_machine_whose_journal_is_out_of_reach_lives_while_its_status_is_of_now(tmp_path, hours, lives):
    """One of the future is left behind by a clock that has gone back, and would say so until the clock is there again."""
    pointer = tmp_path / ".steno" / "journal" / f"other-1-00{pointers.SUFFIX}"
    files.write_json(made(pointer), {"host": "other", "boot": "b", "path": str(tmp_path / "elsewhere")})
    status = made(tmp_path / ".steno" / "nodes" / "00" / statusfile.FILE)
    status.touch()
    os.utime(status, (time.time() + 3600 * hours,) * 2)
    assert is_live(tmp_path) == lives


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"runs cannot be kept in .*STENO_DIR"),
        attempt.exclusive(tmp_path / "file" / "p"),
    ):
        pass
    with pytest.raises(UsageError, match="cannot be kept"), attempt.exclusive(Path("/proc/steno")):
        pass


def test_asking_does_not_drop_our_own_lock(tmp_path):
    """A process that asks whether its own run is live still holds its journal afterwards."""
    out = run_programs.ok(
        """
        import steno, subprocess, sys
        from steno.capture.start.liveness import is_live
        run = steno.init(name="a", dir="runs")
        print(is_live(run.dir))
        code = "import sys, pathlib; from steno.capture.start.liveness import is_live; print(is_live(pathlib.Path(sys.argv[1])))"
        print(subprocess.run([sys.executable, "-c", code, str(run.dir)], capture_output=True, text=True).stdout.strip())
        """,
        tmp_path,
    )
    assert out.split() == ["False", "True"]
