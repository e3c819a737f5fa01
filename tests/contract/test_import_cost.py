"""`import steno`, and recording, load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import under_test

HEAVY = (
    "numpy",
    "duckdb",
    "pyarrow",
    "torch",
    "jax",
    "rich",
    "typer",
    "pandas",
    "polars",
    "tensorboard",
    "sqlite3",
    "asyncio",
)


def loaded(code: str, tmp_path) -> list[str]:
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=under_test.environment(STENO_COLLECTOR="off"),
        capture_output=True,
        text=True,
        check=True,
    )
    return out.stdout.split()


@pytest.mark.parametrize(
    "code",
    [
        "import steno",
        "import steno; steno.init",
        "import steno; steno.UsageError; steno.Batch",
        "import steno\nwith steno.init(dir='runs') as run: run.log({'a': 1.0, 'b': {'c': 2}}, step=0)",
    ],
)
def test_nothing_heavy_is_loaded(code, tmp_path):
    assert loaded(code, tmp_path) == []


def test_import_steno_loads_only_the_standard_library(tmp_path):
    code = (
        "import sys; before = set(sys.modules); import steno; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names - {'steno'}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=under_test.environment(STENO_COLLECTOR="off"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() in {"[]", "['msgspec']"}
