"""`run.json`: who a run is, and where it comes from."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import host
from steno.capture.plain import plain, written
from steno.record import FORMAT
from steno.secrecy import arguments, mask, scrub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENVIRONMENT: Final = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "HIP_VISIBLE_DEVICES",
    "JAX_PLATFORMS",
    "LOCAL_WORLD_SIZE",
    "NCCL_DEBUG",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTORCH_CUDA_ALLOC_CONF",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CPUS_PER_TASK",
    "SLURM_GPUS",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_NNODES",
    "SLURM_NTASKS",
    "TORCHELASTIC_RUN_ID",
    "WORLD_SIZE",
    "XLA_FLAGS",
)
"""What is kept of the environment: nothing that names a person or carries a secret."""
_GIT_SECS: Final = 0.1
"""How long `init` waits for git; a tree too large for that has `dirty: null`."""
_ARGUMENT_CHARS: Final = 2000
_FULL_HASH: Final = re.compile(r"^[0-9a-f]{40,64}$")


def describe(
    *,
    id: str,
    project: str,
    config: Mapping[str, Any],
    tags: Sequence[str],
    notes: str,
    group: str | None,
    git: Mapping[str, Any] | None,
    version: str,
) -> dict[str, Any]:
    """What `run.json` says, but for the name."""
    about = {
        "format": FORMAT,
        "id": id,
        "name": "",
        "project": project,
        "created": time.time(),
        "config": written(config),
        "tags": [scrub(tag) for tag in tags],
        "notes": scrub(notes),
        "group": group,
        "host": host.name(),
        "pid": os.getpid(),
        "command": shlex.join(command(sys.orig_argv)),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{os.uname().machine}",
        "steno": version,
        "git": dict(git) if git else None,
        "environment": {name: mask(name, os.environ[name]) for name in _ENVIRONMENT if name in os.environ},
    }
    # A command line or a branch may be no valid unicode.
    return {name: plain(value) for name, value in about.items()}


def command(argv: Sequence[str]) -> list[str]:
    """The command line without secrets, the home directory as `~`."""
    home, out = os.path.expanduser("~"), []
    # The interpreter's place says nothing about the run.
    for argument in [os.path.basename(one) for one in argv[:1]] + arguments(list(argv[1:])):
        name, equals, value = scrub(argument).partition("=")
        shown = (value if equals else name)[:_ARGUMENT_CHARS]
        if len(home) > 1 and shown.startswith(home + os.sep):
            shown = "~" + shown[len(home) :]
        out.append(f"{name}={shown}" if equals else shown)
    return out


class Git:
    """The state of the source tree, asked for in the background while `init` does its other work."""

    def __init__(self, start: Path | None = None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._found: dict[str, Any] | None = None
        try:
            self._begin(start or _source())
        except (OSError, ValueError):
            self._found = None

    def _begin(self, start: Path) -> None:
        top = next((place for place in (start, *start.parents) if (place / ".git").exists()), None)
        if top is None:
            return
        self._found = {"commit": _commit(top), "branch": _branch(top), "dirty": None}
        try:
            self._process = self._ask(top)
        except OSError:  # no git here: what its files say remains
            self._process = None

    @staticmethod
    def _ask(top: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules"],
            cwd=top,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def result(self, timeout_secs: float = _GIT_SECS) -> dict[str, Any] | None:
        """{commit, branch, dirty}; None outside a repository."""
        process, self._process = self._process, None
        if process is None or self._found is None:
            return self._found
        try:
            out, _ = process.communicate(timeout=timeout_secs)
            if process.returncode == 0:
                self._found["dirty"] = bool(out.strip())
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return self._found


def _source() -> Path:
    """The directory of the program, or the working directory where there is none (a notebook)."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main).resolve().parent if main else Path.cwd()


def _git_dir(top: Path) -> Path:
    dot = top / ".git"
    if dot.is_file():
        # A worktree or submodule: `gitdir: <path>`.
        return (top / dot.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
    return dot


def _branch(top: Path) -> str | None:
    head = (_git_dir(top) / "HEAD").read_text(encoding="utf-8").strip()
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else None


def _commit(top: Path) -> str | None:
    folder = _git_dir(top)
    head = (folder / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head if _FULL_HASH.match(head) else None
    ref = head.removeprefix("ref: ")
    common = folder
    if (folder / "commondir").is_file():
        common = (folder / (folder / "commondir").read_text(encoding="utf-8").strip()).resolve()
    for place in (folder, common):
        if (place / ref).is_file():
            return (place / ref).read_text(encoding="utf-8").strip()
    packed = common / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {ref}"):
                return line.partition(" ")[0]
    return None
