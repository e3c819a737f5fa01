"""`init(system_metrics=…)`: the collector measures, training pays nothing, automatic steps stay what they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import types

import pytest
from ledger_slices import info, piece
from test_post import ledger, poster, rows  # noqa: F401 - fixtures

import steno
from steno.collector.system.gpus import Gpus
from steno.collector.system.host import Host
from steno.collector.system.sampling import Sampling
from steno.ledger import schema
from steno.ledger.sample import Sample

MACHINE = {
    "system/cpu_percent",
    "system/memory_percent",
    "system/memory_used_bytes",
    "system/disk_percent",
    "system/disk_free_bytes",
    "system/network_sent_bytes_per_sec",
    "system/network_received_bytes_per_sec",
}
PROCESS = {"system/process/cpu_percent", "system/process/memory_bytes", "system/process/threads"}


def wait_for(what, secs=60):
    deadline = time.monotonic() + secs
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- in the ledger ------------------------------------------------------------------------------------------


def test_a_sample_is_a_record_at_the_step_reached_and_moves_no_counter(poster):  # noqa: F811
    poster.sample(Sample(5, 10**18, 3, {"system/b": 2.0, "system/a": 1.0}))
    first = poster.post([])
    second = poster.post([(info(), piece([(10, None, {"x": 1.0}), (30, None, {"x": 2.0}), (40, 7, {"x": 3.0})]))])
    poster.sample(Sample(45, 10**18, 0, {"system/a": 1.0}))
    third = poster.post([(info(), piece([(44, None, {"x": 4.0}), (50, None, {"x": 5.0})], start=4396))])

    assert rows(first) == [(1, 0, {"system/a": 1.0, "system/b": 2.0})]
    assert first.rank.tolist() == [3]
    assert second.step.tolist() == [0, 1, 7], "the run's first automatic step is still 0"
    assert rows(third) == [(5, 8, {"x": 4.0}), (6, 7, {"system/a": 1.0}), (7, 9, {"x": 5.0})]
    assert poster.next_step() == 10


def test_writers_counters_say_how_far_a_run_is_too(poster):  # noqa: F811
    rows_ = [(10, 100, {"x": 1.0})]
    poster.post([(info(), piece(rows_, options={"counter": "scalar"}))])
    poster.sample(Sample(45, 10**18, 0, {"system/a": 1.0}))

    assert poster.post([]).step.tolist() == [100]
    assert poster.next_step() == 0


def test_after_a_rewind_samples_go_on_from_there(poster):  # noqa: F811
    poster.post([(info(), piece([(10, 100, {"x": 1.0})]))])
    poster.begin_attempt(2, 50)
    poster.sample(Sample(45, 10**18, 0, {"system/a": 1.0}))

    assert poster.post([]).step.tolist() == [49]


def test_a_posting_that_fails_keeps_its_samples(poster, ledger):  # noqa: F811
    poster.sample(Sample(5, 10**18, 0, {"system/a": 1.0}))
    ledger.execute("create trigger no before insert on batches begin select raise(abort, 'full'); end")
    with pytest.raises(schema.sqlite3.IntegrityError, match="full"):
        poster.post([])
    ledger.execute("drop trigger no")

    assert rows(poster.post([])) == [(1, 0, {"system/a": 1.0})]
    assert poster.post([]) is None


# -- measuring ----------------------------------------------------------------------------------------------


def test_the_host_tells_of_the_machine_and_of_each_ranks_processes(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        host = Host(tmp_path)
        assert host.open()
        processes = {0: frozenset({os.getpid()}), 5: frozenset({child.pid, 2**22 + 1})}
        first = host.sample(1.0, processes)
        sum(range(3_000_000))
        second = dict(host.sample(1.0, processes))
    finally:
        child.communicate(b"\n", timeout=30)
    third = dict(host.sample(1.0, processes))

    assert [rank for rank, _ in first] == [None], "a process is counted from its first sample on"
    assert {f"system/{key}" for key in second[None]} >= MACHINE
    assert {f"system/{key}" for key in second[0]} == PROCESS
    assert 0 <= second[None]["memory_percent"] <= 100
    assert second[0]["process/cpu_percent"] > 0
    assert second[0]["process/memory_bytes"] > 1 << 20
    assert second[5]["process/threads"] == 1
    assert set(third) == {None, 0}, "a process that is gone is left out"


def test_a_machine_without_gpus_is_no_trouble():
    pynvml = pytest.importorskip("pynvml")
    said = []
    try:
        pynvml.nvmlInit()
        there = pynvml.nvmlDeviceGetCount() > 0
    except pynvml.NVMLError:
        there = False
    assert Gpus(lambda *told: said.append(told)).open() is there
    assert said == []


class Driver(types.ModuleType):
    """Answers as NVML does, for two GPUs of which the second knows no power and fails at its temperature.

    Not measured on a GPU: this shows the keys and the handling of errors, not what a driver says.
    """

    NVML_TEMPERATURE_GPU = 0

    def __init__(self):
        super().__init__("pynvml")
        self.NVMLError = type("NVMLError", (Exception,), {})
        for name in ("LibraryNotFound", "DriverNotLoaded", "NotSupported"):
            setattr(self, f"NVMLError_{name}", type(name, (self.NVMLError,), {}))
        self.nvmlInit = self.nvmlShutdown = lambda: None
        self.nvmlDeviceGetCount = lambda: 2
        self.nvmlDeviceGetHandleByIndex = lambda at: at
        self.nvmlDeviceGetUtilizationRates = lambda at: types.SimpleNamespace(gpu=10 + at, memory=5)
        self.nvmlDeviceGetMemoryInfo = lambda at: types.SimpleNamespace(used=1 << 30, total=4 << 30)

    def nvmlDeviceGetTemperature(self, at, kind):
        if at == 1:
            raise self.NVMLError("GPU is lost")
        return 61

    def nvmlDeviceGetPowerUsage(self, at):
        if at == 1:
            raise self.NVMLError_NotSupported
        return 250_500


def test_each_gpu_has_its_keys_and_an_error_is_said_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Driver())
    said = {}
    gpus = Gpus(said.__setitem__)
    assert gpus.open()
    first = gpus.sample(1.0, {})
    assert gpus.sample(1.0, {}) == first
    gpus.close()

    assert first == [
        (
            None,
            {
                "gpu/0/utilization_percent": 10,
                "gpu/0/memory_used_bytes": 1 << 30,
                "gpu/0/memory_percent": 25.0,
                "gpu/0/temperature_celsius": 61,
                "gpu/0/power_watts": 250.5,
                "gpu/1/utilization_percent": 11,
                "gpu/1/memory_used_bytes": 1 << 30,
                "gpu/1/memory_percent": 25.0,
            },
        )
    ]
    assert list(said.values()) == ["GPU 1 does not tell all its metrics: GPU is lost"]


class Steady:
    """A probe that answers at once."""

    name = "steady"

    def __init__(self):
        self.closed = threading.Event()

    def open(self):
        return True

    def sample(self, passed_secs, processes):
        return [(None, {"a": 1.0}), (max(processes), {"b": passed_secs})]

    def close(self):
        self.closed.set()


class Hanging(Steady):
    """A driver that does not come back."""

    name = "hanging"
    go = threading.Event()

    def sample(self, passed_secs, processes):
        self.go.wait(60)
        return []


class Failing(Steady):
    """Fails each time."""

    name = "failing"

    def sample(self, passed_secs, processes):
        raise OSError("no such device")


class Missing(Steady):
    """A package that is not installed where the collector runs."""

    name = "missing"

    def open(self):
        raise ImportError("No module named 'missing'")


def test_probes_that_hang_or_fail_do_not_hold_up_the_others(tmp_path):
    said, steady = {}, Steady()
    sampling = Sampling(tmp_path, lambda: 0.01, said.__setitem__, [Hanging(), Failing(), Missing(), steady])
    sampling.look(time.monotonic(), lambda: {2: frozenset({1}), 4: frozenset({2})})
    samples, troubles = [], []

    def enough():
        more, wrong = sampling.take()
        samples.extend(more)
        troubles.extend(wrong)
        return len(samples) >= 20 and len(troubles) >= 2

    wait_for(enough)
    sampling.stop()
    wait_for(steady.closed.is_set)
    Hanging.go.set()

    assert {(one.rank, tuple(one.values)) for one in samples} == {(2, ("system/a",)), (4, ("system/b",))}
    assert sorted(troubles) == [
        "a system metric of failing could not be read: OSError('no such device')",
        "there are no system metrics of missing: No module named 'missing'. Install it with: pip install 'stenolog[system]'",
    ]
    assert len(said) == 2, "once, however often it fails"


def test_nothing_is_measured_while_nobody_logs_or_asks(tmp_path):
    now, wanted, steady = [0.0], [None], Steady()
    sampling = Sampling(tmp_path, lambda: wanted[0], lambda *_: None, [steady])
    before = threading.active_count()
    sampling.look(now[0], lambda: {0: frozenset({1})})
    wanted[0] = 0.01
    sampling.look(2.0, dict)

    assert threading.active_count() == before
    assert sampling.take() == ([], [])
    sampling.stop()


# -- runs ---------------------------------------------------------------------------------------------------


def test_a_run_is_measured_while_it_logs(tmp_path):
    with steno.init(dir=tmp_path, name="m", rank=3, system_metrics=0.1, destinations=["jsonl"]) as run:
        book, logged = steno.open(run.dir), 0

        def measured():
            nonlocal logged
            run.log({"loss": 1.0})
            logged += 1
            return book.keys() and len(book.series("system/process/threads").step) >= 3

        wait_for(measured)
    assert steno.sync(run.dir, timeout=60).complete
    finished = book.records("finish")[0].time

    assert book.series("loss").step.tolist() == list(range(logged))
    assert set(book.keys()) >= {"loss"} | MACHINE | PROCESS
    for key in ("system/cpu_percent", "system/process/memory_bytes"):
        series = book.series(key)
        assert set(series.rank.tolist()) == {3}
        assert max(series.step.tolist()) < logged
        assert int(series.time[-1].astype("int64")) < finished + 3 * 10**9, "nobody logs any more"
    assert book.records("note") == []
    assert book.info.state == "finished"
    lines = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    written = [line for line in lines if "system/cpu_percent" in line.get("values", ())]
    assert len(written) == len(book.series("system/cpu_percent").step)


def test_who_opens_an_attempt_decides_whether_it_is_measured(tmp_path):
    asked = tmp_path / "default" / "m" / ".steno" / "system.json"
    with steno.init(dir=tmp_path, name="m", system_metrics=True):
        assert json.loads(asked.read_text()) == {"every_secs": 10.0}
    with steno.init(dir=tmp_path, name="m", resume=True, system_metrics=60):
        assert json.loads(asked.read_text()) == {"every_secs": 60.0}
    with steno.init(dir=tmp_path, name="m", resume=True):
        assert not asked.exists()


@pytest.mark.parametrize("wrong", [0, -1, "10", 1e9, float("nan"), [10]])
def test_a_wrong_interval_is_one_clear_error(tmp_path, wrong):
    with pytest.raises(steno.UsageError, match=r"a number of seconds from 0\.1 to 86400 is needed, or True for 10"):
        steno.init(dir=tmp_path, system_metrics=wrong)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_said_at_init_and_the_rest_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with steno.init(dir=tmp_path, system_metrics=True) as run:
        assert (run.dir / ".steno/system.json").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "steno: system_metrics measures no NVIDIA GPU, for want of nvidia-ml-py: pip install 'stenolog[system]'"
    )
    monkeypatch.setitem(sys.modules, "psutil", None)
    with steno.init(dir=tmp_path, system_metrics=10):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert "no CPU, memory, disk and network and NVIDIA GPU, for want of psutil and nvidia-ml-py" in line
