"""Journals that another boot of this machine has left behind."""

from __future__ import annotations

import subprocess
import sys

from run_programs import environment

import steno

BEFORE_THE_REBOOT = """
import os, time

os.environ["STENO_NATIVE"] = "0"  # it asks the kernel for the time, which no test moves
real = time.monotonic_ns
time.monotonic_ns = lambda: real() + {ahead}
from steno import host

host.boot_id = lambda: "another-boot"
import steno

run = steno.init("p", "r", dir="runs")
for i in range(10):
    run.log({{"x": float(i)}})
os._exit(1)
"""
AFTER_IT = """
import steno

run = steno.init("p", "r", dir="runs", resume=True)
for i in range(10, 15):
    run.log({"x": float(i)})
"""


def _python(code, cwd, *arguments):
    return subprocess.run(
        [sys.executable, *arguments, "-c", code], cwd=cwd, env=environment(), timeout=30, check=False
    ).returncode


def test_what_was_logged_before_a_reboot_is_posted_and_comes_first(tmp_path):
    # A day of uptime, while this boot is younger: its stamps lie in our future.
    assert _python(BEFORE_THE_REBOOT.format(ahead=86_400 * 10**9), tmp_path) == 1
    assert _python(AFTER_IT, tmp_path) == 0

    subprocess.run(
        [sys.executable, "-m", "steno.collector", str(tmp_path / "runs" / "p" / "r"), "--once"],
        env=environment(),
        timeout=30,
        check=True,
    )

    with steno.open(tmp_path / "runs" / "p" / "r") as book:
        series = book.series("x")
    assert series.step.tolist() == list(range(15))
    assert series.value.tolist() == [float(i) for i in range(15)]
