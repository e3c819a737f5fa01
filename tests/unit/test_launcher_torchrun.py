"""Ranks started by the real torchrun meet in one run, also after a restart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import run_programs
from run_programs import journals

pytest.importorskip("torch.distributed.run", reason="torchrun comes with torch")

PROGRAM = """
import os, sys, steno
run = steno.init({arguments})
run.log({{"restart": float(os.environ["TORCHELASTIC_RESTART_COUNT"])}}, step=0)
print("place", run.rank, run.name, run.attempt, flush=True)
if {fail} and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and run.rank == 1:
    sys.exit(3)
"""


def torchrun(tmp_path: Path, *options: str, arguments: str = "", fail: bool = False) -> list[list[str]]:
    (tmp_path / "train.py").write_text(PROGRAM.format(arguments=arguments, fail=fail))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, "train.py"],
        cwd=tmp_path,
        env=run_programs.environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(line.split()[1:] for line in done.stdout.splitlines() if line.startswith("place"))


def test_ranks_of_torchrun_meet_and_the_next_start_is_another_run(tmp_path):
    options = ("--nproc-per-node=2", "--master-port=0")
    first = torchrun(tmp_path, *options)
    second = torchrun(tmp_path, *options)
    for places in (first, second):
        assert [(rank, attempt) for rank, _, attempt in places] == [("0", "1"), ("1", "1")]
        assert len({name for _, name, _ in places}) == 1
    assert first[0][1] != second[0][1]


def test_a_restart_by_torchrun_is_a_new_attempt_of_the_run(tmp_path):
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1")
    places = torchrun(tmp_path, *options, arguments="name='exp'", fail=True)
    last = [(rank, name, attempt) for rank, name, attempt in places if attempt == "2"]
    assert last == [("0", "exp", "2"), ("1", "exp", "2")]
    found = journals(tmp_path / "runs/default/exp")
    assert {(journal.attempt, journal.records[0]["restart"]) for journal in found} == {(1, 0.0), (2, 1.0)}
    again = torchrun(tmp_path, *options, arguments="name='exp'")
    assert again == [["0", "exp-2", "1"], ["1", "exp-2", "1"]]
