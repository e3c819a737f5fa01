"""Forks, threads, handlers, other hosts and jumping clocks: each record once, whoever logged it and wherever it was interrupted."""

from __future__ import annotations

import collections
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from besieged import no_collector, ok, run, start
from run_programs import environment, wait_for

import steno
import under_test


def read(tmp_path, name="a"):
    no_collector(tmp_path)
    report = steno.sync(tmp_path / "runs/default" / name, timeout=60)
    assert report.complete, report
    return steno.open(tmp_path / "runs/default" / name)


def test_a_hundred_forks_from_a_logging_thread(tmp_path):
    code = """
    import os, threading, time
    import steno
    run = steno.init(name="a")
    stop = threading.Event()
    counts = [0, 0]

    def work(number):
        while not stop.is_set():
            run.log({f"thread{number}": float(counts[number])})
            counts[number] += 1

    def storm():
        children = []
        for number in range(100):
            run.log({"storm": float(number)})
            pid = os.fork()
            if not pid:
                for turn in range(5):
                    run.log({"child": number * 5.0 + turn})
                os._exit(0)
            children.append(pid)
        deadline = time.monotonic() + 40
        for pid in children:
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    assert status == 0, status
                    break
                assert time.monotonic() < deadline, "a child hangs"
                time.sleep(0.002)

    crew = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for one in crew: one.start()
    stormy = threading.Thread(target=storm)
    stormy.start(); stormy.join()
    stop.set()
    for one in crew: one.join()
    print(*counts, flush=True)
    run.finish(40)
    """
    counts = [int(word) for word in ok(code, tmp_path).split()]
    book = read(tmp_path)
    for number in range(2):
        assert np.array_equal(book.series(f"thread{number}").value, np.arange(counts[number]))
    assert np.array_equal(book.series("storm").value, np.arange(100))
    assert sorted(book.series("child").value.tolist()) == [float(i) for i in range(500)]
    steps = np.concatenate([book.series(key).step for key in ("thread0", "thread1", "storm", "child")])
    assert np.array_equal(np.sort(steps), np.arange(sum(counts) + 600))


def test_a_handler_that_forks_and_logs_inside_log(tmp_path):
    code = """
    import itertools, os, signal, time
    import steno
    run = steno.init(name="a")
    children = []
    turns = itertools.count()  # a tick may interrupt a tick
    nested = 0

    def tick(*_):
        global nested
        if nested == 20: return  # a timer that is faster than its handler would nest until Python's stack is full
        nested += 1
        turn = next(turns)
        run.log({"tick": float(turn)})
        if turn % 25 == 24:
            pid = os.fork()
            if not pid:
                signal.setitimer(signal.ITIMER_REAL, 0)
                run.log({"child": float(turn)})
                os._exit(0)
            children.append(pid)
        nested -= 1

    class Last:
        def __init__(self, number): self.number, self.me = number, self
        def __del__(self): run.log({"del": float(self.number)})

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    i = made = 0
    end = time.monotonic() + 60
    while len(children) < 12 and time.monotonic() < end:
        run.log({"i": float(i), "x": i / 3}, i)
        i += 1
        if i % 50 == 0:
            Last(made)
            made += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    import gc; gc.collect()
    for pid in children: assert os.waitpid(pid, 0)[1] == 0
    print(i, next(turns), len(children), made, flush=True)
    run.finish(40)
    """
    # Small segments: a handler meets the rolls too. What a finalizer logs in a child is the child's.
    i, ticks, children, made = map(int, ok(code, tmp_path, STENO_SEGMENT_BYTES="262144").split())
    assert children >= 12
    assert made > 0
    book = read(tmp_path)
    assert book.info.losses == ()
    assert np.array_equal(book.series("i").value, np.arange(i))
    assert np.array_equal(book.series("x").value, np.arange(i) / 3)
    assert sorted(book.series("tick").value.tolist()) == [*range(ticks)]
    assert set(book.series("del").value.tolist()) == {*range(made)}
    assert sorted(book.series("child").value.tolist()) == [25 * one + 24 for one in range(children)]


def test_eight_threads_in_each_of_four_processes_number_without_gaps(tmp_path):
    code = """
    import multiprocessing, os, sys, threading
    import steno

    def work(process):
        crew = [threading.Thread(target=turn, args=(process * 8 + thread,)) for thread in range(8)]
        for one in crew: one.start()
        for one in crew: one.join()

    def turn(worker):
        for i in range(500):
            steno.log({f"w{worker}": float(i)})

    if __name__ == "__main__":
        run = steno.init(name="a")
        forked = [multiprocessing.get_context(how).Process(target=work, args=(number,))
                  for number, how in ((1, "fork"), (2, "spawn"), (3, "forkserver"))]
        for one in forked: one.start()
        work(0)
        for one in forked: one.join()
        assert [one.exitcode for one in forked] == [0, 0, 0]
        run.finish(40)
    """
    ok(code, tmp_path)
    book = read(tmp_path)
    assert len(book.keys()) == 32
    steps = []
    for worker in range(32):
        series = book.series(f"w{worker}")
        # Each thread's records in its own order, by their numbers.
        assert np.array_equal(series.value, np.arange(500))
        assert (np.diff(series.step) > 0).all()
        steps.append(series.step)
    assert np.array_equal(np.sort(np.concatenate(steps)), np.arange(16_000))


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_an_end_without_any_goodbye_loses_nothing(tmp_path, end):
    code = f"""
    import os, steno
    run = steno.init(name="a")
    for i in range(3000): run.log({{"i": float(i)}}, i)
    {end}
    """
    assert run(code, tmp_path).returncode != 0
    book = read(tmp_path)
    assert np.array_equal(book.series("i").value, np.arange(3000))
    assert book.info.state == "crashed"


def test_an_exception_in_training_is_kept_with_its_traceback(tmp_path):
    code = """
    import steno
    run = steno.init(name="a")
    run.log({"i": 1.0})
    def deep(): raise ZeroDivisionError("no learning rate")
    deep()
    """
    assert run(code, tmp_path).returncode == 1
    book = read(tmp_path)
    assert book.info.state == "failed"
    assert "no learning rate" in book.info.error
    (last,) = book.records("finish")
    assert "in deep" in last.payload["traceback"]


def test_two_programs_log_into_one_run_at_once(tmp_path):
    code = """
    import sys, steno
    run = steno.init(name="a", destinations=["jsonl"])
    print("here", flush=True)
    sys.stdin.readline()
    for i in range(2000): run.log({sys.argv[0][-4]: float(i)})
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish(40)
    """
    with start(code, tmp_path) as first, start(code, tmp_path) as second:
        for line in ("here\n", "logged\n"):
            for program in (first, second):
                assert program.stdout.readline() == line, program.stderr.read()
            for program in (first, second):
                program.stdin.write("\n")
                program.stdin.flush()
        for program in (first, second):
            out, err = program.communicate(timeout=60)
            assert (program.returncode, out, under_test.without_waits(err)) == (0, "", "")
    book = read(tmp_path)
    for key in "01":
        assert np.array_equal(book.series(key).value, np.arange(2000))
    steps = np.concatenate([book.series(key).step for key in "01"])
    assert np.array_equal(np.sort(steps), np.arange(4000))
    numbers = collections.Counter(
        line for line in (tmp_path / "runs/default/a/metrics.jsonl").read_text().splitlines() if '"values"' in line
    )
    assert len(numbers) == sum(numbers.values()) == 4000


def test_two_machines_on_one_directory_keep_their_own_books(tmp_path):
    """Another host name, given by a namespace of its own, makes another machine of this one."""
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode:
        pytest.skip("another host name needs the right to make a namespace")
    code = """
    import sys, steno
    run = steno.init(destinations=["jsonl"])
    for i in range(1000): run.log({"i": float(i)}, i)
    assert run.flush(30)
    print(run.name, flush=True)
    sys.stdin.readline()
    for i in range(1000, 2000): run.log({"i": float(i)}, i)
    assert run.finish(30), run.health()
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(code))
    programs = [
        subprocess.Popen(
            ["unshare", "--uts", "sh", "-c", f'hostname node{rank}; exec "$0" "$1"', sys.executable, str(path)],
            cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(STENO_COLLECTOR="on", SLURM_JOB_ID="7", SLURM_STEP_ID="0", SLURM_NTASKS="2", SLURM_PROCID=str(rank)),
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        assert [program.stdout.readline() for program in programs] == ["slurm-7-0\n"] * 2
        for program in programs:
            _, err = program.communicate("\n", timeout=60)
            assert (program.returncode, under_test.without_waits(err)) == (0, "")
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    no_collector(tmp_path)
    run_dir = tmp_path / "runs/default/slurm-7-0"
    assert len(list(run_dir.glob("card-*.json"))) == 2  # a card for each node
    book = steno.open(run_dir)
    for rank in range(2):
        assert np.array_equal(book.series("i", rank=rank).value, np.arange(2000))
    everything = book.series("i")
    assert len(set(zip(everything.node.tolist(), everything.record.tolist(), strict=True))) == 4000
    assert book.info.state == "finished"
    lines = [
        line for path in run_dir.glob("metrics*.jsonl") for line in path.read_text().splitlines() if '"values"' in line
    ]
    assert len(lines) == len(set(lines)) == 4000
    names = sorted(path.name for path in run_dir.glob("metrics*.jsonl"))
    assert len(names) == 2
    assert names[1] == "metrics.jsonl"
    assert socket.gethostname() not in ("node0", "node1")


def test_a_jumping_clock_moves_times_and_orders_nothing(tmp_path):
    code = """
    import time
    import steno
    real, offset = time.time_ns, 0
    time.time_ns = lambda: real() + offset
    run = steno.init(name="a")
    i = 0
    for offset in (0, 3600 * 10**9, -7200 * 10**9, 10**18):
        # The keeper sees a jump within a second.
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            run.log({"i": float(i), "offset": offset // 10**9, "now": time.time_ns() // 10**9})
            i += 1
            time.sleep(0.01)
    run.finish(30)
    """
    ok(code, tmp_path)
    book = read(tmp_path)
    series = book.series("i")
    assert np.array_equal(series.value, np.arange(len(series.value)))
    assert np.array_equal(series.step, np.arange(len(series.value)))
    assert (np.diff(series.record) > 0).all()
    assert (np.diff(series.time.astype(np.int64)) < 0).any()
    now, offset = book.series("now").value, book.series("offset").value
    for jump in np.unique(offset):
        at = np.flatnonzero(offset == jump)
        # The first second after a jump may carry the old clock; the last records of each spell the new one.
        assert abs(series.time.astype(np.int64)[at[-1]] / 1e9 - now[at[-1]]) < 2


def test_a_run_is_seen_as_running_while_its_collector_is_dead(tmp_path):
    code = """
    import os, sys, steno
    run = steno.init(name="a", collector=True)
    run.log({"i": 1.0}); assert run.flush(30)
    print("here", flush=True)
    sys.stdin.readline()
    os._exit(0)
    """
    with start(code, tmp_path) as program:
        assert program.stdout.readline() == "here\n"
        assert steno.open(tmp_path / "runs/default/a").info.state == "running"
        program.communicate("\n", timeout=30)
    wait_for(lambda: steno.open(tmp_path / "runs/default/a").info.state == "crashed")
