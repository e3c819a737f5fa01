"""The environment of a program under test: this source tree, no launcher, no collector."""

from __future__ import annotations

import os
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
_OTHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "TORCHELASTIC_", "SLURM_", "OMPI_", "PMIX_", "JAX_", "STENO_")


def plain() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    return {**env, "PYTHONPATH": str(SRC), "STENO_COLLECTOR": "off"}
