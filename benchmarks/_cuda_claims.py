"""The claims of docs/devices.md about CUDA, each tried on the GPU at hand: (claim, what was measured, whether it holds)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import torch

import steno

METRICS = 20
_HZ = 2.0e9
_MASKED = """
import tempfile, torch, steno
run = steno.init(dir=tempfile.mkdtemp(), collector=False)
x = torch.ones(4, device="cuda")
run.log({"x": x[0]}, 0)
torch.cuda.synchronize()
x[torch.tensor([9], device="cuda")].sum()  # the device asserts, some time later
for step in range(100):
    run.log({"x": x[0]}, step)
try:
    torch.cuda.synchronize()
except RuntimeError as error:
    print("seen")
run.finish(1)
"""


def started(**more):
    return steno.init(dir=tempfile.mkdtemp(prefix="steno-cuda-"), collector=False, **more)


def settle(run):
    return run._started.recorder.drain(time.monotonic() + 30)


def read(run, key):
    """The values of a key, by step."""
    settle(run)
    run.finish(5)
    steno.sync(run.dir)
    series = steno.open(run.dir).series(key)
    return series.value[np.argsort(series.step, kind="stable")]


def fine(run):
    device = run.health()["device"]
    return run.health()["reports"] == 0 and not device["failed"] and not device["given_up"]


def first_calls_on_several_streams():
    """The very first calls of the process, at once on four streams: their own memory is only being made."""
    run, gate, count = started(), threading.Barrier(4), 200

    def work(number):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            x = torch.zeros((), device="cuda")
            gate.wait()
            for step in range(count):
                x.fill_(number * 1000 + step)
                run.log({f"t{number}": x}, step)
                x.fill_(-1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrived = settle(run)
    right = arrived and fine(run)
    run.finish(5)
    steno.sync(run.dir)
    reader = steno.open(run.dir)
    for number in range(4):
        right = right and reader.series(f"t{number}").value.tolist() == [number * 1000 + step for step in range(count)]
    return "first calls on four streams at once: every value right", str(right), right


def host_time():
    run = started()
    tensors = {f"m/{i}": torch.tensor(float(i), device="cuda") for i in range(METRICS)}
    for step in range(500):
        run.log(tensors, step)
    settle(run)
    torch.cuda.synchronize()
    taken = []
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for step in range(2000):
        began = time.perf_counter()
        run.log(tensors, step)
        taken.append(time.perf_counter() - began)
        if step % 100 == 99:
            settle(run)
    grown = torch.cuda.memory_stats()["allocation.all.allocated"] - before
    median = statistics.median(taken) * 1e6
    run.finish(5)
    yield "host time of a call with 20 scalars, at most 40 µs", f"{median:.1f} µs", median <= 40
    yield "device allocations in 2,000 calls after warm-up: none", str(grown), grown == 0


def no_synchronization():
    """PyTorch itself raises at each synchronization; `log` would report that, so the reports are counted."""
    run = started()
    tensors = {f"m/{i}": torch.tensor(float(i), device="cuda") for i in range(METRICS)}
    run.log({**tensors, "many": torch.ones(100, device="cuda")}, 0)
    settle(run)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(200):
            run.log({**tensors, "many": torch.ones(100, device="cuda")}, step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    right = settle(run) and fine(run)
    run.finish(5)
    return "200 calls under set_sync_debug_mode('error'): no report", str(right), right


def blocked_stream():
    """One second of work before the value, another one after it."""
    run = started()
    x = torch.zeros((), device="cuda")
    run.log({"x": x}, 0)
    settle(run)
    x.fill_(7)
    torch.cuda.synchronize()
    began = time.perf_counter()
    torch.cuda._sleep(int(_HZ))
    torch.cuda.synchronize()
    cycles = int(_HZ / (time.perf_counter() - began))
    torch.cuda._sleep(cycles)
    x.fill_(8)
    began = time.perf_counter()
    run.log({"x": x}, 1)
    took = (time.perf_counter() - began) * 1e3
    waiting = not torch.cuda.current_stream().query()
    x.fill_(9)
    value = read(run, "x")[-1]
    right = took < 1 and waiting and value == 8
    yield "a call behind a kernel of 1 s returns in less than 1 ms, before the kernel ends", f"{took:.3f} ms", right
    yield "… and its value is that of the call (8)", f"{value:g}", value == 8


def changed_at_once():
    run, count = started(), 10_000
    x = torch.zeros((), device="cuda")
    for step in range(count):
        x.fill_(step)
        fresh = torch.full((), float(step), device="cuda")
        run.log({"x": x, "fresh": fresh}, step)
        x.add_(1) if step % 2 else x.zero_()
        del fresh
        torch.full((), -1.0, device="cuda")  # takes the memory that was freed
        if step % 1000 == 999:
            settle(run)
    settle(run)
    right = fine(run)
    run.finish(5)
    steno.sync(run.dir)
    reader = steno.open(run.dir)
    right = right and all(np.array_equal(reader.series(key).value, np.arange(count)) for key in ("x", "fresh"))
    return "changed in place, or freed and used again, 10,000 times: every value right", str(right), right


def every_dtype():
    values = {
        torch.float64: 1e300, torch.float32: 0.5, torch.float16: 0.5, torch.bfloat16: 3.140625, torch.bool: True,
        torch.float8_e4m3fn: 1.5, torch.float8_e5m2: 1.5, torch.uint8: 255, torch.int8: -128, torch.int16: -3,
        torch.int32: 2**31 - 1, torch.int64: 2**53, torch.uint16: 65535, torch.uint32: 2**32 - 1,
    }  # fmt: skip
    run = started()
    run.log({str(dtype): torch.tensor(value, dtype=dtype).cuda() for dtype, value in values.items()}, 0)
    right = settle(run) and fine(run)
    run.finish(5)
    steno.sync(run.dir)
    reader = steno.open(run.dir)
    right = right and all(reader.series(str(dtype)).value[0] == value for dtype, value in values.items())
    return "scalars of 14 dtypes in one call: exact", str(right), right


def captured_graph():
    """A value is on its way while a graph is captured: the thread that polls for it must not break the capture."""
    run = started()
    x = torch.zeros((), device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run.log({"side": x + 1}, 0)
    run.log({"y": x * 2}, 0)
    settle(run)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(int(_HZ / 4))
        run.log({"side": x + 2}, 1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
        run.log({"inside": y}, 1)
        time.sleep(0.05)
    said = "inside" in run.health()["reported_keys"]
    for step in range(1, 11):
        x.fill_(step)
        graph.replay()
        run.log({"y": y}, step)
    value = read(run, "y").tolist()
    right = said and value == [2.0 * step for step in range(11)]
    return "captured while a value is on its way; outputs logged after replay; inside it is reported", str(right), right


def error_is_seen():
    made = subprocess.run([sys.executable, "-c", _MASKED], capture_output=True, text=True, timeout=120, check=False)
    right = "seen" in made.stdout
    return "a CUDA error of the program reaches the program", str(right), right


def several_devices():
    count = torch.cuda.device_count()
    if count < 2:
        return "values of two devices in one call", "not measured: one device", True
    run = started()
    a, b = torch.zeros((), device="cuda:0"), torch.zeros((), device="cuda:1")
    for step in range(100):
        a.fill_(step)
        b.fill_(-step)
        run.log({"a": a, "b": b}, step)
    settle(run)
    run.finish(5)
    steno.sync(run.dir)
    reader = steno.open(run.dir)
    right = reader.series("a").value.tolist() == (-reader.series("b").value).tolist() == [float(i) for i in range(100)]
    return "values of two devices in one call", str(right), right


def tried():
    """Every claim as (claim, measured, holds); a claim that cannot be tried does not hold."""
    found = []
    for claim in (
        first_calls_on_several_streams, host_time, no_synchronization, blocked_stream, changed_at_once, every_dtype,
        captured_graph, several_devices, error_is_seen,
    ):  # fmt: skip
        try:
            got = claim()
            found += [got] if isinstance(got, tuple) else list(got)
        except Exception as error:
            found.append((claim.__name__.replace("_", " "), repr(error)[:200], False))
    return found
