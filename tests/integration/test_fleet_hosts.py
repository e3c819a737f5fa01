"""Hosts of one run that have troubles of their own: a clock that is an hour off, a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_fleet import Host, runs_in, torchrun

import steno
import under_test
from clocks import shifted
from object_stores import eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "crash"))

from besieged import disk

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def store(monkeypatch, tmp_path):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    return f"file://{tmp_path}/store"


def test_hosts_whose_clocks_are_two_hours_apart_are_one_run_in_their_store(store, tmp_path):
    clock = shifted(tmp_path)
    hosts = [
        Host(tmp_path / f"disk{rank}", store, {**torchrun(rank, 2), **clock(secs)}, "{'live_secs': 0.5}").begun()
        for rank, secs in enumerate((-3600, 3600))
    ]
    path = f"p/{hosts[0].name}"
    with steno.open(eventually(lambda: runs_in(store) and f"{store}/{path}")) as reader:
        eventually(lambda: reader.info.ranks == (0, 1) and len(reader.series("loss")) == 40, poll=0.2)
        assert (reader.info.state, reader.info.silent) == ("running", {})
        assert [one.state for one in steno.runs(store)] == ["running"]
        hosts[0].end()
        assert reader.info.state == "running"
        # What was begun by the clock of the future is joined by that of the past, and what has ended is over.
        again = Host(tmp_path / "disk0", store, {**torchrun(0, 2, restart=1), **clock(-3600)}).begun()
        hosts[1].end()
        other = Host(tmp_path / "disk2", store, {**torchrun(1, 2), **clock(3600)}).begun()
        again.end()
        other.end()
        eventually(lambda: reader.info.state == "finished", poll=0.2)
        assert [one.attempt for one in reader.info.attempts] == [1, 2]
        for attempt in (1, 2):
            times = []
            for rank in range(2):
                found = reader.series("loss", rank=rank, attempt=attempt)
                assert found.value.tolist() == [step + rank / 8 for step in range(20)]
                times.append(found.time[0])
            assert 7000 < (times[1] - times[0]) / 1e9 < 7400
    assert runs_in(store) == [path]
    assert [one.state for one in steno.runs(store)] == ["finished"]


FULL = """
import os, sys, steno
run = steno.init(project="p", dir=sys.argv[1], store=sys.argv[2], live_secs=0.5)
for step in range(20):
    run.log({"loss": step + run.rank / 8}, step=step)
run.flush(30)
print(run.name, flush=True)
sys.stdin.readline()
with open(f"{sys.argv[1]}/filler", "wb", buffering=0) as file:
    piece = 1 << 20
    while piece >= 1:
        try:
            if file.write(bytes(piece)) < piece:
                piece //= 2
        except OSError:
            piece //= 2
for step in range(20, 30_000):
    run.log({"loss": step + run.rank / 8, "note": "x" * 100}, step=step)
print(run.health()["kept_in_memory"] > 0, flush=True)
sys.stdin.readline()
run.finish(2)
print(run.health()["dropped"], flush=True)
"""


def test_a_full_disk_of_one_host_is_said_and_harms_no_other(store, tmp_path):
    with disk(tmp_path / "disk1", "16m") as place:
        whole = Host(tmp_path / "disk0", store, torchrun(0, 2), "{'live_secs': 0.5}").begun()
        full = subprocess.Popen(
            [sys.executable, "-c", FULL, str(place), store],
            env=under_test.environment(STENO_SEGMENT_BYTES="262144", **torchrun(1, 2)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        name = full.stdout.readline().strip()
        assert name == whole.name
        with steno.open(eventually(lambda: runs_in(store) and f"{store}/p/{name}")) as reader:
            eventually(lambda: len(reader.series("loss", rank=1)) == 20, poll=0.2)
            full.stdin.write("\n")
            full.stdin.flush()
            assert full.stdout.readline() == "True\n"
            # The other one goes on meanwhile, and is read.
            whole.process.stdin.write("77\n")
            whole.process.stdin.flush()
            eventually(lambda: len(reader.series("late", rank=0)) == 1 if "late" in reader.keys() else False, poll=0.2)
            out, said = full.communicate("\n", timeout=60)
            assert int(out) > 0
            assert said.count("bytes are needed") == 1
            assert "were lost" in said
            whole.end()
            for rank in range(2):
                found = reader.series("loss", rank=rank)
                assert found.value.tolist()[:20] == [step + rank / 8 for step in range(20)]
                assert found.step.tolist() == sorted(set(found.step.tolist()))
            assert reader.info.ranks == (0, 1)
