"""async_log in child processes: what crosses the pipe, what kills a child, what is refused."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import sys
import threading
import time
import types

import numpy as np
import pytest
from run_programs import journals, wait_for
from test_tasks import Desk

from steno.capture.tasks import forking, reply
from steno.capture.tasks.task import inside
from steno.errors import TaskError

BOTH = pytest.mark.parametrize("mode", ["spawn", "fork"])


@pytest.fixture
def desk(tmp_path):
    # Collectors of other tests' runs may still be at work in this process.
    before = {pid for pid, _ in children()}
    made = Desk(tmp_path)
    yield made
    made.end()
    # On a busy machine a process that was killed takes its time to be gone; one that was left alone never goes.
    wait_for(lambda: not [child for child in children() if child[0] not in before], 30)


def children():
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                found.append((int(name), fields[0]))
    return found


def double(x):
    return {"double": 2 * x}


def who():
    return {"pid": os.getpid()}


def boom():
    raise LookupError("nothing there")


def leave():
    raise SystemExit(3)


def interrupt():
    raise KeyboardInterrupt


def die(how):
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), how)
    time.sleep(60)


def unpicklable():
    return {"lock": threading.Lock()}


def number():
    return 3.0


def sleep(secs):
    time.sleep(secs)
    return {"slept": secs}


class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def awkward():
    raise Awkward("one", "two")


def sum_of(array):
    return {"sum": float(array.sum()), "row": array[:3].copy()}


@BOTH
def test_value_comes_back_and_is_recorded_by_the_parent(desk, mode):
    futures = [desk.submit(double, float(i), step=i, mode=mode) for i in range(6)]

    assert [future.result(20) for future in futures] == [{"double": 2.0 * i} for i in range(6)]
    (journal,) = journals(desk.dir)
    assert sorted(zip(journal.steps, journal.records, strict=True)) == [(i, {"double": 2.0 * i}) for i in range(6)]


def test_spawned_children_are_warm_and_few(desk):
    pids = {desk.submit(who, mode="spawn").result(20)["pid"] for _ in range(20)}

    assert len(pids) <= 2
    assert os.getpid() not in pids


def test_spawn_sends_the_arguments_as_they_are_at_the_call(desk):
    array = np.ones(10)
    future = desk.submit(sum_of, array, mode="spawn")
    array[:] = 0

    assert future.result(20)["sum"] == 10.0


def test_forked_child_has_the_callers_state_and_pickles_nothing(desk):
    weights = np.ones(10)
    lock = threading.Lock()  # cannot be pickled

    def evaluate():
        with lock:
            return {"sum": float(weights.sum())}

    future = desk.submit(evaluate, mode="fork")
    weights[:] = 0

    assert future.result(20) == {"sum": 10.0}


@BOTH
def test_error_of_the_function_comes_with_the_childs_traceback(desk, mode):
    error = desk.submit(boom, mode=mode).exception(20)

    assert isinstance(error, LookupError)
    assert "nothing there" in str(error)
    assert "in boom" in str(error.__cause__)


@BOTH
def test_base_exception_is_the_futures_and_the_child_goes_on(desk, mode):
    assert isinstance(desk.submit(leave, mode=mode).exception(20), SystemExit)
    assert isinstance(desk.submit(interrupt, mode=mode).exception(20), KeyboardInterrupt)
    assert desk.submit(double, 1.0, mode=mode).result(20) == {"double": 2.0}


@BOTH
def test_exception_that_cannot_be_pickled_is_told_in_words(desk, mode):
    error = desk.submit(awkward, mode=mode).exception(20)

    assert isinstance(error, TaskError)
    assert "one and two" in str(error)


@BOTH
@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "exited with status 7"), (signal.SIGKILL, "SIGKILL .out of memory"), (signal.SIGTERM, "SIGTERM")],
)
def test_child_that_dies_costs_its_own_task_only(desk, mode, how, words):
    futures = [desk.submit(double, 1.0, mode=mode), desk.submit(die, how, mode=mode)]
    futures += [desk.submit(double, float(i), mode=mode) for i in range(4)]

    error = futures[1].exception(20)
    assert isinstance(error, TaskError)
    with pytest.raises(TaskError, match=rf"die .*{words}"):
        raise error
    assert [f.result(20) for f in (futures[0], *futures[2:])] == [{"double": 2.0 * x} for x in (1, 0, 1, 2, 3)]


def test_idle_child_that_died_is_replaced_without_a_word(desk):
    before = {pid for pid, _ in children()}
    pid = desk.submit(who, mode="spawn").result(20)["pid"]
    for line in desk.register._pools["spawn"]._lines:
        line.kill()
    wait_for(lambda: all(state == "Z" for pid, state in children() if pid not in before))

    assert desk.submit(who, mode="spawn").result(20)["pid"] != pid
    assert not desk.said


def test_task_is_given_to_another_child_when_one_dies_before_it_begins(desk):
    desk.submit(who, mode="spawn").result(20)
    (line,) = desk.register._pools["spawn"]._lines
    line._child.poll = lambda: None  # as if it were alive
    pid = line._child.pid
    os.kill(pid, signal.SIGKILL)

    pids = {desk.submit(who, mode="spawn").result(20)["pid"] for _ in range(4)}

    assert pid not in pids
    assert not desk.said


def test_function_that_cannot_be_pickled_is_told_with_the_remedies(desk):
    future = desk.submit(lambda: {"a": 1.0}, mode="spawn")

    with pytest.raises(TaskError, match=r"cannot be sent.*top level of a module.*threading"):
        future.result(20)


def test_function_the_child_cannot_find_is_told(desk):
    module = types.ModuleType("only_here")
    exec("def func():\n    return {}", module.__dict__)
    sys.modules["only_here"] = module
    try:
        future = desk.submit(module.func, mode="spawn")
        with pytest.raises(TaskError, match="could not read the task.*top level of a module"):
            future.result(20)
    finally:
        del sys.modules["only_here"]


@BOTH
def test_result_that_cannot_be_pickled_is_told(desk, mode):
    with pytest.raises(TaskError, match="cannot be sent from the child.*return plain numbers"):
        desk.submit(unpicklable, mode=mode).result(20)


@BOTH
def test_result_that_is_no_dict_is_told(desk, mode):
    with pytest.raises(TypeError, match="must return a dict: number returned float"):
        desk.submit(number, mode=mode).result(20)


@BOTH
def test_place_is_kept_at_submit(desk, mode):
    future = desk.submit(double, 1.0, mode=mode, step_at="submit")
    desk.recorder.log({"after": 1.0})
    future.result(20)

    (journal,) = journals(desk.dir)
    assert list(journal.records[0]) == ["\0reserved"]  # the fill is told in test_tasks
    assert journal.records[1] == {"after": 1.0}


@pytest.mark.timing
@BOTH
def test_task_that_never_ends_is_killed_in_time(desk, mode):
    futures = [desk.submit(sleep, 60.0, mode=mode) for _ in range(3)]
    wait_for(lambda: desk.register.health()[mode]["running"] == 2)

    began = time.monotonic()
    left = desk.register.close(0.3)

    assert time.monotonic() - began < 0.5
    assert sorted(left) == ["sleep (queued)", "sleep (running)", "sleep (running)"]
    assert all(isinstance(future.exception(0), TaskError) for future in futures)


def test_nothing_that_watches_forked_children_outlives_a_finish_that_killed_them(tmp_path):
    for i in range(20):
        desk = Desk(tmp_path / str(i))
        for _ in range(4):
            desk.submit(sleep, 60.0, mode="fork")
        watching = desk.register._pools["fork"]._thread
        desk.register.close(0.02 * (i % 3))
        desk.recorder.close()
        watching.join(5)
        assert not watching.is_alive(), f"the thread of finish number {i} waits for a child, and there is none"
        assert desk.register._pools["fork"]._wake is None


def test_forked_task_can_be_cancelled_while_it_waits_for_its_turn(desk):
    futures = [desk.submit(sleep, 0.2, mode="fork") for _ in range(3)]

    assert futures[2].cancel()
    assert desk.register.close(20) == []
    assert desk.register.health()["fork"]["cancelled"] == 1
    assert len(desk.records()) == 2


def test_forked_child_flushes_what_it_prints_once(desk, capfd):
    def talk():
        print("child speaks")
        return {}

    print("parent speaks", end="")
    desk.submit(talk, mode="fork").result(20)
    sys.stdout.flush()

    out = capfd.readouterr().out
    assert out.count("parent speaks") == 1
    assert out.count("child speaks") == 1


def test_forking_while_threads_log_is_safe(desk):
    stop = threading.Event()

    def chatter():
        while not stop.is_set():
            desk.recorder.log({"noise": 1.0})
            time.sleep(0)

    threads = [threading.Thread(target=chatter) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        futures = [desk.submit(double, float(i), mode="fork") for i in range(30)]
        assert [future.result(30) for future in futures] == [{"double": 2.0 * i} for i in range(30)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_forked_child_logs_by_itself_in_its_own_journal(desk):
    log = desk.recorder.log

    def evaluate():
        log({"inside": 1.0})
        return {"outside": 2.0}

    desk.submit(evaluate, mode="fork").result(20)

    found = journals(desk.dir)
    assert [journal.primary for journal in found] == [True, False]
    assert [journal.records for journal in found] == [[{"outside": 2.0}], [{"inside": 1.0}]]


def test_forked_child_waits_for_the_tasks_it_asked_for(desk):
    def evaluate():
        inner = desk.submit(lambda: time.sleep(0.1) or {"inner": 1.0})
        assert not inner.done()
        return {"outer": 2.0}

    desk.submit(evaluate, mode="fork").result(20)

    assert [journal.records for journal in journals(desk.dir)] == [[{"outer": 2.0}], [{"inner": 1.0}]]


def test_large_array_is_journalled_by_the_forked_child(desk):
    array = np.arange(100_000.0)

    value = desk.submit(lambda: {"big": array, "small": 1.0}, mode="fork", step=4).result(20)

    assert value["small"] == 1.0
    assert repr(value["big"]) == "<ndarray float64 (100000,), recorded by the child>"
    parent, child = journals(desk.dir)
    assert parent.records == []
    assert child.records == [
        {"big/min": 0.0, "big/mean": array.mean(), "big/max": 99_999.0, "big/std": array.std(), "small": 1.0}
    ]
    assert child.steps == [4]


@pytest.mark.parametrize("how", ["torch", "jax", "driver"])
def test_fork_is_refused_where_it_is_known_to_break(desk, monkeypatch, how):
    if how == "torch":
        cuda = types.SimpleNamespace(is_initialized=lambda: True)
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    elif how == "jax":
        monkeypatch.setitem(sys.modules, "jax._src.xla_bridge", types.SimpleNamespace(_backends={"cpu": object()}))
    else:
        monkeypatch.setattr(forking.os, "readlink", lambda _: "/dev/nvidia-uvm")

    future = desk.submit(double, 1.0, mode="fork")

    with pytest.raises(TaskError, match='refused: .* use mode="spawn"'):
        future.result(5)


def test_more_forks_than_may_live_follow_the_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(forking, "CHILDREN", 2)
    desk = Desk(tmp_path)
    try:
        held = [desk.submit(sleep, 0.3, mode="fork") for _ in range(2)]
        refused = desk.submit(double, 1.0, mode="fork")
        with pytest.raises(TaskError, match="pending already"):
            refused.result(0)
        assert [future.result(20) for future in held] == [{"slept": 0.3}] * 2
    finally:
        desk.end()


# -- the reply ------------------------------------------------------------------------------------------------


def answer(func, *args, whole=False, record=None):
    return reply.read(reply.run(lambda: (func, args, {}), record or (lambda data: None), whole=whole))


def test_small_value_is_the_parents_to_record():
    assert answer(double, 2.0) == reply.Reply({"double": 4.0})


def test_large_value_is_recorded_by_the_child_unless_the_parent_holds_its_place():
    big = functools.partial(dict, big=np.zeros(100_000), n=1)
    recorded = []

    slim = answer(big, record=recorded.append)
    assert slim.recorded
    assert slim.value["n"] == 1
    assert isinstance(slim.value["big"], reply.RecordedValue)
    assert recorded[0]["big"].shape == (100_000,)

    whole = answer(big, whole=True)
    assert not whole.recorded
    assert whole.value["big"].shape == (100_000,)


def test_caller_counts_as_a_task_only_while_it_runs():
    during = []

    answer(lambda: during.append(inside.get()) or {})
    answer(boom)
    reply.run(boom, lambda data: None, whole=False)  # not even the task could be read

    assert during == [True]
    assert not inside.get()


class Picture:
    def __steno__(self):
        raise AssertionError("only its kind is asked for")


def test_media_is_recorded_by_the_child_however_small():
    recorded = []

    slim = answer(lambda: {"picture": [Picture()], "n": 1}, record=recorded.append)

    assert slim.recorded
    assert len(recorded) == 1
    assert repr(slim.value["picture"]) == "<list, recorded by the child>"


def test_answer_that_cannot_be_read_is_an_error():
    assert isinstance(reply.read(b"nonsense").error, TaskError)
    assert isinstance(reply.read(pickle.dumps(("value", b"nonsense", ""))).error, TaskError)


def die_with_a_child_that_holds_the_pipe():
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    os._exit(7)


def test_a_dead_child_is_noticed_among_more_than_1024_open_files(desk, many_open_files):
    with pytest.raises(TaskError, match="exited with status 7"):
        desk.submit(die_with_a_child_that_holds_the_pipe, mode="fork").result(20)
    assert desk.submit(double, 1.0, mode="fork").result(20) == {"double": 2.0}
