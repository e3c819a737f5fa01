"""The environment of programs that tests start: they import the code under test, wherever this process has it from.

That is an installed wheel, an editable install, or what PYTHONPATH names (`scripts/mutate` breaks lines of a copy).
No test names the checkout's `src`: a child would then run that instead, and nobody would see it.
"""

from __future__ import annotations

import os

LAUNCHERS = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_",
    "MASTER_",
    "TORCHELASTIC_",
    "SLURM_",
    "OMPI_",
    "PMIX_",
    "JAX_",
    "STENO_",
)


def is_launchers(name: str) -> bool:
    """Whether a variable comes from a launcher or from steno, and not from the test itself."""
    return name.startswith(LAUNCHERS) and name != "STENO_KEEP_LEDGER"


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what a launcher or steno has set, and with `more`."""
    return {**{name: value for name, value in os.environ.items() if not is_launchers(name)}, **more}


def without_waits(said: str) -> str:
    """What a program said, without the line that its end is waited for: that comes after two seconds, on a busy machine."""
    return "".join(line for line in said.splitlines(keepends=True) if "waits up to" not in line)


def import_path(*places: object) -> str:
    """A PYTHONPATH by which a child imports from these places, and else as this process's children do."""
    return os.pathsep.join(filter(None, [*map(os.fspath, places), os.environ.get("PYTHONPATH")]))
