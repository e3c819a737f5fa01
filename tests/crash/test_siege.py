"""A small siege: random kills, and nothing lost, torn, doubled or invented. `scripts/torture` has the full one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("mode", "kills", "seed"), [("all", 12, 1), ("catchup", 2, 4)])
def test_nothing_is_lost(tmp_path, road, mode, kills, seed):
    command = [sys.executable, str(Path(__file__).with_name("siege.py")), "--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--mode", mode, "--road", road],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert " 0 faults" in done.stdout
    # The kills did hit something, and there was something to lose.
    records = int(done.stdout.rsplit(" acknowledged records", 1)[0].rsplit(" ", 1)[-1].replace(",", ""))
    assert records > 1000 * kills // 4, done.stdout
    if mode == "catchup":
        more = int(done.stdout.rsplit(" more of collectors", 1)[0].rsplit(" ", 1)[-1])
        assert more >= kills, done.stdout
