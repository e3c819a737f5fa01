"""Who started this process: rank, world size and job, from the launcher's environment variables.

Order: the rank by hand, torchrun, JAX, Open MPI, SLURM. A launcher that runs inside another (torchrun under
srun, mpirun under sbatch) is the one that numbered this process, so the inner ones come first.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from steno import host
from steno.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCAL_MASTERS: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", ""})
_MAX_ANCESTORS: Final = 32
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """What names a job alike on all of its hosts and after each restart; docs/fleet.md has the table."""

    text: str
    cluster: str = ""
    """Of two clusters that number their jobs alike."""
    unique: bool = False
    """Whether no other job, past or future, is called so."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How this process was started."""

    kind: str = ""
    """torchrun, torch, jax, mpi, slurm, steno, or empty: by hand."""
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int | None = None
    """Processes of the job on this machine; None: the launcher does not say."""
    node_rank: int | None = None
    """This machine's index in the job; None: the launcher does not say."""
    job: str = ""
    """The same for all processes of one job and its restarts; empty when the job is not known."""
    restart: int = 0
    """How often the launcher has started the job's processes anew."""
    unique: bool = False
    """Whether no other job, past or future, has the same `job`."""
    alone: bool = False
    """Whether the launcher says that this process is the whole job: nobody else is to be met."""
    nodes: int = 1
    """Machines of the job, as far as the launcher says."""
    named: Named | None = None
    """What hosts without a common disk meet by; None: the launcher says nothing that they all know."""

    @property
    def token(self) -> str:
        """The same for all processes of one start of the job."""
        return f"{self.job}#{self.restart}" if self.job else ""


def detect(
    environ: Mapping[str, str] | None = None, *, rank: int | None = None, world_size: int | None = None
) -> Launch:
    """Read the launcher's variables.

    Args:
        environ: None: this process's.
        rank: given by hand; a launcher around it still tells the job.
        world_size: given by hand; needs `rank`.

    Raises:
        UsageError: a variable that should be a number is none.
    """
    env = os.environ if environ is None else environ
    launch = _torchrun(env) or _jax(env) or _open_mpi(env) or _slurm(env) or Launch()
    if rank is not None:
        world_size = max(world_size or launch.world_size, rank + 1)
        launch = replace(launch, kind=launch.kind or "steno", rank=rank, world_size=world_size)
    by_hand = env.get("STENO_JOB")
    if by_hand:
        launch = replace(launch, job=f"job:{by_hand}", unique=True)
    if launch.world_size == 1:
        alone = bool(launch.job) and rank is None and not by_hand
        return replace(launch, local_world_size=1, node_rank=0, alone=alone, named=_named(env, launch))
    local = _first(env, "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE")
    nodes = _first(env, "GROUP_WORLD_SIZE", "SLURM_NNODES") or -(-launch.world_size // (local or launch.world_size))
    return replace(
        launch,
        named=_named(env, launch),
        nodes=nodes,
        local_world_size=local,
        node_rank=_first(env, "GROUP_RANK", "NODE_RANK", "SLURM_NODEID"),
    )


def _first(env: Mapping[str, str], *names: str) -> int | None:
    return next((int(env[name]) for name in names if env.get(name, "").isdecimal()), None)


def _named(env: Mapping[str, str], launch: Launch) -> Named | None:
    """Of nothing that a restart changes, nor of an address: torch moves that with its first host."""
    if by_hand := env.get("STENO_JOB"):
        return Named(f"job:{by_hand}", unique=True)
    if run_id := _rendezvous(env, launch):
        return Named(f"torchrun:{run_id}", unique=_UUID.fullmatch(run_id) is not None)
    if launch.world_size == 1:
        return None  # in one step of SLURM or of MPI program after program may run, each alone, and in parallel
    if launch.kind == "mpi":
        return Named(launch.job) if launch.job else None
    is_local = _first(env, "LOCAL_WORLD_SIZE") == launch.world_size
    if env.get("SLURM_JOB_ID") and env.get("SLURM_STEP_ID") and not is_local:
        job = f"slurm:{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
        return Named(job, env.get("SLURM_CLUSTER_NAME", ""), unique=launch.kind == "slurm")
    run = env.get("STENO_RUN")
    return Named(f"run:{run}") if run else None


def _rendezvous(env: Mapping[str, str], launch: Launch) -> str:
    """The id that torchrun was given; "none" is its default."""
    found = env.get("TORCHELASTIC_RUN_ID", "") if launch.kind == "torchrun" else ""
    return "" if found == "none" else found


def _torchrun(env: Mapping[str, str]) -> Launch | None:
    elastic = "TORCHELASTIC_RUN_ID" in env
    if "RANK" not in env or not (elastic or ("WORLD_SIZE" in env and "MASTER_ADDR" in env)):
        return None
    master = f"{env.get('MASTER_ADDR', '')}:{env.get('MASTER_PORT', '')}"
    launch = Launch(
        kind="torchrun" if elastic else "torch",
        rank=_number(env, "RANK"),
        world_size=_number(env, "WORLD_SIZE", 1),
        local_rank=_number(env, "LOCAL_RANK", 0),
        restart=_number(env, "TORCHELASTIC_RESTART_COUNT", 0),
    )
    if not elastic:
        local = env.get("MASTER_ADDR", "") in _LOCAL_MASTERS
        # Several jobs in a row have the same local address: it names them but cannot tell them apart.
        return replace(launch, job=f"torch:{host.name() if local else ''}:{master}")
    if run_id := _rendezvous(env, launch):
        # Tutorials' fixed ids come back. Of one host too: it may be what an elastic job has left.
        return replace(launch, job=f"torchrun:{run_id}", unique=_UUID.fullmatch(run_id) is not None)
    if _number(env, "LOCAL_WORLD_SIZE", 0) == launch.world_size:
        agent = _agent()
        if agent is not None:
            job = f"torchrun:{host.name()}:{agent[0]}:{agent[1]}"
            return replace(launch, job=job, unique=True)
    return replace(launch, job=f"torchrun:{master}")


def _jax(env: Mapping[str, str]) -> Launch | None:
    if "JAX_PROCESS_ID" not in env:
        return None
    address = env.get("JAX_COORDINATOR_ADDRESS", "")
    return Launch(
        kind="jax",
        rank=_number(env, "JAX_PROCESS_ID"),
        world_size=_number(env, "JAX_NUM_PROCESSES", 1),
        job=f"jax:{address}" if address else "",
    )


def _open_mpi(env: Mapping[str, str]) -> Launch | None:
    if "OMPI_COMM_WORLD_RANK" not in env:
        return None
    job = env.get("PMIX_NAMESPACE") or env.get("OMPI_MCA_ess_base_jobid", "")
    return Launch(
        kind="mpi",
        rank=_number(env, "OMPI_COMM_WORLD_RANK"),
        world_size=_number(env, "OMPI_COMM_WORLD_SIZE", 1),
        local_rank=_number(env, "OMPI_COMM_WORLD_LOCAL_RANK", 0),
        job=f"mpi:{job}" if job else "",
        unique=bool(job),
    )


def _slurm(env: Mapping[str, str]) -> Launch | None:
    # An sbatch script has SLURM_PROCID=0 too, though nothing but srun starts more than one process.
    if "SLURM_PROCID" not in env or not env.get("SLURM_STEP_ID"):
        return None
    world = _number(env, "SLURM_STEP_NUM_TASKS", _number(env, "SLURM_NTASKS", 1))
    return Launch(
        kind="slurm",
        rank=_number(env, "SLURM_PROCID"),
        world_size=world,
        local_rank=_number(env, "SLURM_LOCALID", 0),
        job=f"slurm:{env.get('SLURM_JOB_ID', '')}.{env['SLURM_STEP_ID']}",
        restart=_number(env, "SLURM_RESTART_COUNT", 0),
        # In `srun --pty bash` one step starts program after program, each with the same variables.
        unique=world > 1,
    )


def _number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = env.get(name, "")
    if not text and default is not None:
        return default
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        msg = f"the environment variable {name} is {text!r}, not a number from 0 on: unset it or pass rank="
        raise UsageError(msg)
    return number


def _agent() -> tuple[int, int] | None:
    """(pid, start in clock ticks since boot) of torchrun's own process.

    It gives its children TORCHELASTIC_RUN_ID and has none itself: so it is found behind any
    wrapper (a shell, numactl) that stands between it and us.
    """
    pid = os.getppid()
    try:
        for _ in range(_MAX_ANCESTORS):
            if pid <= 1:
                return None
            with open(f"/proc/{pid}/environ", "rb") as file:
                inside = any(item.startswith(b"TORCHELASTIC_RUN_ID=") for item in file.read().split(b"\0"))
            born = host.birth(pid)
            if born is None:
                return None
            parent, start = born
            if not inside:
                return pid, start
            pid = parent
    except OSError:
        pass
    return None


def digest(text: str) -> bytes:
    """Bytes that all processes of a job derive alike from its token."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
