"""Launchers are told apart by their variables, and the job by what all of its processes share."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import run_programs

from steno.capture.start.launcher import detect
from steno.errors import UsageError

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}


def test_a_program_by_hand_is_rank_0_of_no_job():
    launch = detect({})
    assert (launch.kind, launch.rank, launch.world_size, launch.job, launch.token) == ("", 0, 1, "", "")


def test_torchrun_over_nodes_is_known_by_its_master_when_it_has_no_id():
    launch = detect(TORCHRUN)
    assert (launch.kind, launch.rank, launch.world_size, launch.local_rank, launch.restart) == ("torchrun", 3, 8, 1, 2)
    assert launch.job == "torchrun:node1:29500"
    assert not launch.unique
    assert launch.token != detect({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "3"}).token


def test_torchrun_with_an_id_keeps_its_job_over_restarts_that_change_the_port():
    first = detect({**TORCHRUN, "TORCHELASTIC_RUN_ID": "exp7"})
    again = detect(
        {**TORCHRUN, "TORCHELASTIC_RUN_ID": "exp7", "MASTER_PORT": "41000", "TORCHELASTIC_RESTART_COUNT": "3"}
    )
    assert first.job == again.job == "torchrun:exp7"
    assert first.token != again.token


def test_local_torchrun_ranks_meet_at_their_agent_behind_shells(tmp_path):
    """Two ranks, one behind a shell, under one parent that has no launcher variable itself."""
    code = (
        "import json, sys; from steno.capture.start.launcher import detect; l = detect(); "
        "sys.stdout.write(json.dumps([l.rank, l.job, l.unique, l.token]) + chr(10))"  # at once: both ranks write
    )
    agent = f"""
import os, subprocess, sys
base = {{**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}}
call = [sys.executable, "-c", {code!r}]
ranks = [subprocess.Popen(call, env={{**base, "RANK": "0"}}),
         subprocess.Popen(["bash", "-c", '"$@"; true', "x", *call], env={{**base, "RANK": "1"}})]
[rank.wait() for rank in ranks]
"""

    def jobs() -> list:
        out = subprocess.run(
            [sys.executable, "-c", agent], env=run_programs.environment(), capture_output=True, text=True, check=True
        )
        return sorted(map(json.loads, out.stdout.splitlines()))

    (rank0, job0, unique0, token0), (rank1, job1, _, token1) = jobs()
    assert (rank0, rank1) == (0, 1)
    assert job0 == job1
    assert token0 == token1
    assert unique0
    assert jobs()[0][1] != job0


def test_plain_torch_variables_are_ranks_of_a_job_that_may_come_again():
    launch = detect({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"})
    assert (launch.kind, launch.rank, launch.world_size, launch.unique) == ("torch", 1, 2, False)
    assert detect({"RANK": "1"}).kind == ""


def test_slurm_counts_only_when_srun_started_the_process():
    batch = {"SLURM_PROCID": "0", "SLURM_JOB_ID": "77", "SLURM_NTASKS": "4"}
    assert detect(batch).kind == ""
    step = {**batch, "SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_LOCALID": "1", "SLURM_RESTART_COUNT": "1"}
    launch = detect(step)
    assert (launch.kind, launch.rank, launch.world_size, launch.local_rank) == ("slurm", 3, 4, 1)
    assert (launch.job, launch.token, launch.unique) == ("slurm:77.0", "slurm:77.0#1", True)
    assert not detect({**step, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}).unique


def test_open_mpi_and_jax():
    mpi = detect(
        {
            "OMPI_COMM_WORLD_RANK": "2",
            "OMPI_COMM_WORLD_SIZE": "4",
            "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            "PMIX_NAMESPACE": "prterun-h-1@1",
            "SLURM_PROCID": "0",
            "SLURM_STEP_ID": "0",
        }
    )
    assert (mpi.kind, mpi.rank, mpi.world_size, mpi.job) == ("mpi", 2, 4, "mpi:prterun-h-1@1")
    assert detect({"OMPI_COMM_WORLD_RANK": "0", "OMPI_MCA_ess_base_jobid": "5"}).job == "mpi:5"
    jax = detect({"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2", "JAX_COORDINATOR_ADDRESS": "h:1234"})
    assert (jax.kind, jax.rank, jax.world_size, jax.job) == ("jax", 1, 2, "jax:h:1234")


def test_the_rank_by_hand_wins_and_the_job_stays():
    launch = detect(TORCHRUN, rank=5, world_size=9)
    assert (launch.rank, launch.world_size, launch.job) == (5, 9, "torchrun:node1:29500")
    assert detect(TORCHRUN, rank=6).world_size == 8
    assert detect({}, rank=6).world_size == 7
    assert detect(TORCHRUN, world_size=9) == detect(TORCHRUN)


@pytest.mark.parametrize("text", ["one", "-1", "1.5"])
def test_a_rank_that_is_no_number_is_refused_by_name(text):
    with pytest.raises(UsageError, match=f"RANK is '{text}'.*rank="):
        detect({**TORCHRUN, "RANK": text})
