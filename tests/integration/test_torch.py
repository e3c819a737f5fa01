"""torch values in real runs: as they were at the call, and nobody waited for a device."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import weakref
from collections import deque

import numpy as np
import pytest

import steno

torch = pytest.importorskip("torch")

from steno.devices._staging import StagingRows  # noqa: E402
from steno.devices._torch import TorchAdapter  # noqa: E402
from steno.devices.base import LATER  # noqa: E402


@pytest.fixture
def run(tmp_path):
    made = steno.init(dir=tmp_path)
    yield made
    made.finish()


def read(run):
    assert run.finish(60)
    return steno.open(run.dir)


def test_tensors_anywhere_in_the_dict_become_their_numbers(run):
    weight = torch.nn.Parameter(torch.tensor([[2.5]]))
    run.log(
        {
            "loss": torch.tensor(0.5),
            "opt": {"lr": torch.tensor(1e-3, dtype=torch.float64), "on": torch.tensor(True)},
            "list": [torch.tensor(1.0), 2.0],
            "n": torch.tensor(2**60, dtype=torch.int64),
            "u": torch.tensor(2**63 + 5, dtype=torch.uint64),
            "w": weight,
            "g": (weight * 2).sum(),
            "plain": 7.0,
        },
        step=torch.tensor(3),
    )
    book = read(run)
    values = {key: book.series(key).value[0] for key in book.keys()}  # noqa: SIM118 - a book is no dict
    assert values["loss"] == 0.5
    assert values["opt/lr"] == 1e-3
    assert values["opt/on"] == 1.0
    assert (values["list/0"], values["list/1"]) == (1.0, 2.0)
    assert values["n"] == float(2**60)
    assert values["w"] == 2.5
    assert values["g"] == 5.0
    assert book.series("loss").step.tolist() == [3]
    assert run.health()["reports"] == 0


@pytest.mark.parametrize(
    "name", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float32", "float64", "int8", "int64", "uint8"]
)
def test_arrays_of_every_dtype_follow_the_mode(run, name):
    dtype = getattr(torch, name)
    values = torch.tensor([1.0, 2.0, 4.0]).to(dtype)
    run.log({"few": values, "many": torch.arange(100).to(torch.float32).to(dtype)})
    run.log({"few": values}, arrays="histogram")
    book = read(run)
    assert [book.series(f"few/{i}").value[0] for i in range(3)] == [1.0, 2.0, 4.0]
    assert {"many/min", "many/mean", "many/max", "many/std"} <= set(book.keys())
    assert book.series("many/min").value[0] == 0.0


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_what_has_no_values_is_reported_and_its_neighbours_are_kept(run, capfd):
    run.log(
        {
            "sparse": torch.eye(3).to_sparse(),
            "csr": torch.eye(3).to_sparse_csr(),
            "meta": torch.empty(3, device="meta"),
            "complex": torch.tensor(1j),
            "empty": torch.empty(0),
            "good": torch.tensor(1.0),
        }
    )
    shown = capfd.readouterr().err
    for key, remedy in [
        ("sparse", "to_dense()"), ("csr", "to_dense()"), ("meta", "no values"), ("complex", "x.real"), ("empty", "empty"),
    ]:  # fmt: skip
        assert f"'{key}' was left out" in shown
        assert remedy in shown
    assert run.health()["reports"] == 5
    assert read(run).keys() == ["good"]


def test_a_value_is_the_one_at_the_call_whatever_happens_to_the_tensor(run):
    """In place, zeroed, freed and its memory used again: 10,000 times."""
    x = torch.zeros(())
    many = torch.zeros(20)
    for value in range(10_000):
        x.fill_(value)
        run.log({"x": x, "k": 1.0}, step=value)
        [lambda: x.add_(1), x.zero_, lambda: x.fill_(float("nan"))][value % 3]()
        if value % 20 == 0:
            many.fill_(value)
            fresh = torch.full((20,), float(value))
            run.log({"many": many, "fresh": fresh}, step=value)
            many.zero_()
            del fresh
            torch.full((20,), -1.0)
    book = read(run)
    assert np.array_equal(book.series("x").value, np.arange(10_000.0))
    for key in ("many/max", "fresh/min"):
        assert np.array_equal(book.series(key).value, np.arange(0, 10_000, 20.0))


def test_logging_keeps_no_graph_alive(run):
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * 2).sum()
    run.log({"loss": loss, "many": weight * 3})
    ref = weakref.ref(loss)
    loss.backward()
    del loss
    gc.collect()
    assert ref() is None
    assert weight.grad is not None


def test_under_no_grad_and_inference_mode(run):
    with torch.no_grad():
        run.log({"x": torch.ones(()) + 1}, step=0)
    with torch.inference_mode():
        run.log({"x": torch.ones(()) + 2}, step=1)
        run.log({"x": torch.ones(5) + 2}, step=2)
    book = read(run)
    assert book.series("x").value.tolist() == [2.0, 3.0]
    assert book.series("x/0").value.tolist() == [3.0]


def test_inside_vmap_it_is_reported_not_raised(run):
    def loss(x):
        run.log({"inside": x, "k": 1.0})
        return x.sum()

    torch.func.vmap(loss)(torch.ones(3, 2))
    assert run.health()["reports"] == 1
    assert read(run).keys() == ["k"]


def test_a_tensordict_is_nested_keys(run):
    tensordict = pytest.importorskip("tensordict")
    data = tensordict.TensorDict(
        {"a": {"b": torch.tensor(1.0), "c": {"d": torch.tensor(2)}}, "e": torch.tensor(3.0)}, batch_size=[]
    )
    run.log(data, step=1)
    run.log({"td": data}, step=2)
    book = read(run)
    assert book.keys() == ["a/b", "a/c/d", "e", "td/a/b", "td/a/c/d", "td/e"]
    assert book.series("td/a/c/d").value.tolist() == [2.0]


def test_a_dtensor_gives_its_local_part_without_a_collective(tmp_path):
    program = """
import steno, sys, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor
run = steno.init(dir=sys.argv[1], name="a", collector=False)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
value = distribute_tensor(torch.tensor(4.0), mesh, [Replicate()])
many = distribute_tensor(torch.arange(4.0), mesh, [Replicate()])
run.log({"d": value, "many": many})
assert run.health()["reports"] == 0
run.finish(20)
dist.destroy_process_group()
"""
    # In a process of its own, since torch keeps a socket and an excepthook of its process group.
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=100)
    steno.sync(tmp_path / "default" / "a")
    book = steno.open(tmp_path / "default" / "a")
    assert book.series("d").value.tolist() == [4.0]
    assert book.series("many/3").value.tolist() == [3.0]


class Stream:
    """A stand-in for a CUDA device: what is launched waits until `finish`."""

    def __init__(self):
        self.device = torch.device("cpu")
        self.queue = deque()

    def stream(self):
        return 0

    def pinned(self, *shape, dtype):
        return torch.empty(shape, dtype=dtype)

    def fence(self):
        pass

    def hold(self, values):
        pass

    def run(self, launch):
        self.queue.append(launch)

    def finish(self):
        while self.queue:
            self.queue.popleft()()


@pytest.fixture
def stream(monkeypatch):
    """Every tensor is taken for one on a device whose stream stands still."""
    made = Stream()
    rows = StagingRows(made)
    monkeypatch.setattr(TorchAdapter, "now", lambda self, value: LATER)
    monkeypatch.setattr(
        TorchAdapter, "begin", lambda self, values, room: rows.begin(values, list(range(len(values))), room)
    )
    made.rows = rows
    return made


def posted(run, key, count):
    """The series, once it has that many points."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if run.flush(0.05) or True:
            try:
                series = steno.open(run.dir).series(key)
            except KeyError:
                continue
            if len(series.value) >= count:
                return series
    raise AssertionError(f"{key} has not come")


def test_host_values_are_there_at_once_and_device_values_come_under_the_same_record(run, stream):
    x = torch.tensor(0.0)
    for step in range(5):
        stream.run(lambda step=step: x.fill_(step))
        run.log({"host": float(step), "device": x, "in": {"many": torch.full((3,), float(step))}}, step=step)
        stream.run(lambda: x.fill_(-1))
    assert posted(run, "host", 5).step.tolist() == [0, 1, 2, 3, 4]
    assert run.health()["device"]["waiting"] == 5
    assert not run.flush(0.05)
    stream.finish()
    assert run.flush(60)
    assert run.health()["device"]["arrived"] == 5
    book = read(run)
    assert book.series("device").value.tolist() == [0, 1, 2, 3, 4]
    assert book.series("device").step.tolist() == [0, 1, 2, 3, 4]
    assert book.series("in/many/2").value.tolist() == [0, 1, 2, 3, 4]
    assert stream.rows.in_flight == 0


@pytest.mark.timing
def test_the_call_does_not_wait_and_the_end_is_bounded_when_the_device_never_answers(run, stream):
    began = time.perf_counter()
    for step in range(100):
        run.log({"device": torch.tensor(1.0), "host": 2.0}, step=step)
    assert time.perf_counter() - began < 1
    began = time.monotonic()
    assert run.finish(1.0) is False
    assert time.monotonic() - began < 2.5
    assert run.health()["device"]["given_up"] == 100
    end = time.monotonic() + 60
    while len(steno.open(run.dir).series("host").value) < 100:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_automatic_step_is_kept_by_its_late_value(run, stream):
    for value in (1.0, 2.0, 3.0):
        run.log({"x": torch.tensor(value), "k": value})
    posted(run, "k", 3)
    stream.finish()
    book = read(run)
    assert book.series("x").step.tolist() == book.series("k").step.tolist()
    assert book.series("x").value.tolist() == [1.0, 2.0, 3.0]


def test_a_step_on_a_device_is_not_waited_for_and_its_record_comes_with_it(run, stream):
    run.log({"k": 1.0, "x": torch.tensor(2.0)}, step=torch.tensor(5))
    run.log({"now": 1.0}, step=6)
    posted(run, "now", 1)
    assert run.health()["device"]["waiting"] == 1
    stream.finish()
    book = read(run)
    assert book.series("k").step.tolist() == [5]
    assert book.series("x").step.tolist() == [5]
    assert book.series("x").value.tolist() == [2.0]


def test_a_run_can_say_which_value_is_given_up(tmp_path):
    with pytest.raises(steno.UsageError, match="device_full"):
        steno.init(dir=tmp_path, device_full="sometimes")
    run = steno.init(dir=tmp_path, device_full="newest")
    assert run.health()["device"]["full"] == "newest"
    run.finish()


def test_threads_log_their_own_tensors(run):
    import threading

    def work(name):
        x = torch.zeros(())
        for step in range(500):
            x.fill_(step)
            run.log({f"t{name}": x}, step=step)
            x.zero_()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book = read(run)
    for name in range(4):
        assert np.array_equal(book.series(f"t{name}").value, np.arange(500.0))


class Rowed(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        steno.log({"worker": torch.tensor(float(index))}, step=index)
        return torch.tensor(float(index))


def test_dataloader_workers_log_into_the_run(run):
    loader = torch.utils.data.DataLoader(Rowed(), batch_size=2, num_workers=2)
    assert sum(float(batch.sum()) for batch in loader) == 28.0
    book = read(run)
    series = book.series("worker")
    assert sorted(series.step.tolist()) == list(range(8))
    assert sorted(series.value.tolist()) == list(range(8))


LATE = """
import torch
from steno.devices._torch import TorchAdapter
from steno.devices.base import LATER
TorchAdapter.now = lambda self, value: LATER  # every tensor is taken for one on a device
"""
PROGRAM = """
import sys, tempfile
{before}
import steno
run = steno.init(dir=sys.argv[1], collector=False)
{log}
run.log({{"k": 1.0}})
run.finish(0)
absent = [name for name in {absent!r} if name in sys.modules]
assert not absent, absent
"""


@pytest.mark.parametrize(
    ("before", "log", "absent"),
    [
        ("", "", ["torch", "jax", "numpy"]),
        ("import steno.torch, steno.jax", "", ["torch", "jax"]),
        ("import torch", 'run.log({"x": torch.ones(())})', ["jax"]),
        (
            LATE,
            'run.log({"x": torch.ones(())}, step=torch.tensor(3))\nrun._started.recorder.drain(None)\nassert run.health()["device"]["arrived"] == 2',
            ["jax"],
        ),
    ],
)
def test_a_program_imports_no_library_that_it_does_not_use(tmp_path, before, log, absent):
    program = PROGRAM.format(before=before, log=log, absent=absent)
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=dict(os.environ), timeout=60)


def test_a_killed_process_loses_only_what_the_device_still_had(tmp_path):
    program = """
import os, sys, steno, torch
from steno.devices._torch import TorchAdapter
from steno.devices.base import LATER
class Never:
    lane, places, size_bytes = "x", [0], 1
    def ready(self): return False
    def drop(self): pass
run = steno.init(dir=sys.argv[1], name="killed", collector=False)
run.log({"first": torch.tensor(1.0), "k": 1.0}, step=0)
TorchAdapter.now = lambda self, value: LATER
TorchAdapter.begin = lambda self, values, room: [Never()]
run.log({"late": torch.tensor([2.0, 3.0]), "k": 2.0}, step=1)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert killed.returncode == -9
    run_dir = tmp_path / "default" / "killed"
    steno.sync(run_dir)
    book = steno.open(run_dir)
    assert book.series("k").value.tolist() == [1.0, 2.0]
    assert book.series("first").value.tolist() == [1.0]
    with pytest.raises(steno.UsageError, match="no key 'late'"):
        book.series("late")
