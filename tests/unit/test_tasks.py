"""async_log in threads and on an event loop: what a Future promises, bounds, and the end."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import time
from concurrent.futures import CancelledError

import pytest
from run_programs import journals, wait_for

from steno.capture.recorder import Recorder
from steno.capture.tasks.register import Register
from steno.errors import ClosedError, TaskError, UsageError
from steno.record import TASK
from steno.settings import Settings


class Desk:
    """A register over a real recorder, and what it said."""

    def __init__(self, run_dir, **options):
        self.dir = run_dir
        self.said = {}
        self.recorder = Recorder(run_dir, run_id="x", report=self.report)
        self.register = Register(
            self.recorder,
            report=self.report,
            settings=Settings(**{f"async_{name}": value for name, value in options.items()}),
        )
        self.submit = self.register.async_log

    def report(self, key, message):
        self.said.setdefault(key, message)

    def records(self):
        return [record for journal in journals(self.dir) for record in journal.records]

    def tasks(self):
        return [payload for journal in journals(self.dir) for kind, payload in journal.entries if kind == TASK]

    def end(self):
        self.register.close(5)
        self.recorder.close()


@pytest.fixture
def desks(tmp_path):
    made = []

    def make(**options):
        made.append(Desk(tmp_path, **options))
        return made[-1]

    yield make
    for desk in made:
        desk.end()


@pytest.fixture
def desk(desks):
    return desks()


def one(value=1.0):
    return {"value": value}


async def later(value=1.0, secs=0.0):
    await asyncio.sleep(secs)
    return {"value": value}


# -- what a Future promises ---------------------------------------------------------------------------------


def test_future_resolves_with_the_functions_own_value_once_it_is_journalled(desk):
    seen = []
    future = desk.submit(one, 3.0)
    future.add_done_callback(lambda _: seen.append(desk.records()))

    assert future.result(5) == {"value": 3.0}
    assert desk.records() == [{"value": 3.0}]
    wait_for(lambda: seen)
    assert seen == [[{"value": 3.0}]]


def test_arguments_reach_the_function_and_step_the_record(desk):
    def func(a, *rest, func, **more):
        return {"n": a + sum(rest) + func + more["x"]}

    desk.submit(func, 1, 2, 3, func=10, x=100, step=7).result(5)

    assert desk.records() == [{"n": 116.0}]
    assert journals(desk.dir)[0].steps == [7]


def test_error_of_the_function_is_the_futures_and_is_said_once(desk):
    def boom():
        raise LookupError("nothing there")

    futures = [desk.submit(boom) for _ in range(3)]

    for future in futures:
        with pytest.raises(LookupError, match="nothing there"):
            future.result(5)
    assert [key for key in desk.said if "boom" in key] == [f"async_log/{boom.__qualname__}"]
    assert desk.records() == []
    assert [task["error"] for task in desk.tasks()] == ["LookupError: nothing there"] * 3


@pytest.mark.parametrize("value", [None, 3.0, [1], "text"])
def test_result_that_is_no_dict_is_an_error_not_a_silent_success(desk, value):
    future = desk.submit(lambda: value)

    with pytest.raises(TypeError, match=r"must return a dict.*return \{\}"):
        future.result(5)
    assert len(desk.said) == 1
    assert desk.records() == []


def test_empty_dict_is_a_success_that_records_nothing(desk):
    assert desk.submit(dict).result(5) == {}
    assert desk.records() == []
    assert [task["state"] for task in desk.tasks()] == ["done"]


def test_each_task_is_an_entry_with_its_times(desk):
    before = time.time_ns()
    desk.submit(one).result(5)

    (task,) = desk.tasks()
    assert task["name"] == "one"
    assert (task["mode"], task["state"]) == ("threading", "done")
    assert before <= task["submitted"] <= task["started"] <= task["ended"] <= time.time_ns()
    assert 0 <= task["duration_secs"] < 5
    assert "error" not in task


def test_callback_that_raises_ends_no_worker(desks):
    desk = desks(workers=1)

    def leave(_):
        raise SystemExit(9)

    release = threading.Event()
    first = desk.submit(lambda: release.wait(60) and {"a": 1.0})
    first.add_done_callback(leave)
    release.set()

    assert desk.submit(one).result(5) == {"value": 1.0}
    assert "async_log/callback" in desk.said


# -- misuse is said at the call -----------------------------------------------------------------------------


def test_unknown_mode_names_the_known_ones(desk):
    with pytest.raises(ValueError, match="'bogus' is not known: use 'threading', 'asyncio', 'spawn', 'fork'"):
        desk.submit(one, mode="bogus")


def test_clash_over_mode_has_the_remedy(desk):
    def evaluate(mode):
        return {"ran": float(mode == "eval")}

    with pytest.raises(ValueError, match=r"functools\.partial"):
        desk.submit(evaluate, mode="eval")
    assert desk.submit(functools.partial(evaluate, mode="eval")).result(20) == {"ran": 1.0}


def test_async_def_function_in_a_thread_is_told_its_mode(desk):
    async def judge():
        return {"x": 1.0}

    with pytest.raises(TypeError, match='judge is an async def function, which only mode="asyncio" runs'):
        desk.submit(judge).result(20)  # and no warning that nobody awaited it, which would be an error here


def test_unknown_step_at_is_refused(desk):
    with pytest.raises(ValueError, match="step_at='soon'"):
        desk.submit(one, step_at="soon")


def test_what_cannot_be_called_is_refused(desk):
    with pytest.raises(TypeError, match="takes a function and its arguments, not dict"):
        desk.submit({"a": 1.0})


def test_asyncio_without_a_loop_says_what_to_do(desk):
    with pytest.raises(RuntimeError, match=r"running event loop.*afinish.*threading"):
        desk.submit(later, mode="asyncio")


def test_asyncio_takes_coroutine_functions_only(desk):
    async def main():
        with pytest.raises(TypeError, match="async def function, one is none"):
            desk.submit(one, mode="asyncio")

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"workers": 0}, {"processes": True}, {"queue": 2.5}, {"full": "explode"}])
def test_bad_settings_are_usage_errors(options):
    with pytest.raises(UsageError, match="async_"):
        Settings(**{f"async_{name}": value for name, value in options.items()})


def test_clash_with_a_parameter_of_the_functions_is_explained(desk):
    def evaluate(model, step):
        return {"score": model + step}

    with pytest.raises(TypeError) as caught:
        desk.submit(evaluate, 1.0, step=5).result(5)
    assert "functools.partial(" in caught.value.__notes__[0]
    assert any("keeps step= for itself" in message for message in desk.said.values())

    assert desk.submit(functools.partial(evaluate, step=5), 1.0, step=9).result(5) == {"score": 6.0}


# -- bounds -------------------------------------------------------------------------------------------------


def filled(desk, count):
    """One running task that waits, and `count` behind it."""
    release, running = threading.Event(), threading.Event()

    def hold():
        running.set()
        release.wait(60)
        return {}

    futures = [desk.submit(hold)]
    assert running.wait(60)
    futures += [desk.submit(one, float(i)) for i in range(count)]
    return futures, release


def test_full_queue_gives_the_error_to_the_future_and_nothing_to_the_loop(desks):
    desk = desks(workers=1, queue=3)
    futures, release = filled(desk, 3)

    refused = desk.submit(one, 9.0)

    with pytest.raises(TaskError, match=r"3 async_log tasks are pending already.*async_full="):
        refused.result(0)
    release.set()
    assert [future.result(5) for future in futures[1:]] == [{"value": float(i)} for i in range(3)]
    assert desk.register.health()["threading"]["failed"] == 1


def test_full_queue_under_drop_cancels_the_newcomer_and_counts_it(desks):
    desk = desks(workers=1, queue=2, full="drop")
    _, release = filled(desk, 2)

    dropped = desk.submit(one, 9.0)

    assert dropped.cancelled()
    release.set()
    desk.register.close(5)
    assert desk.register.health()["threading"] == {
        "queued": 0, "running": 0, "done": 3, "failed": 0, "cancelled": 0, "dropped": 1, "abandoned": 0,
    }  # fmt: skip
    assert {"value": 9.0} not in desk.records()


def test_full_queue_under_wait_holds_the_caller_until_there_is_room(desks):
    desk = desks(workers=1, queue=2, full="wait")
    _, release = filled(desk, 2)
    entered = threading.Event()
    got = []

    def caller():
        entered.set()
        got.append(desk.submit(one, 9.0).result(5))

    thread = threading.Thread(target=caller)
    thread.start()
    assert entered.wait(60)
    assert not got
    release.set()
    thread.join(5)

    assert got == [{"value": 9.0}]


def test_worker_never_waits_for_room_it_has_to_make(desks):
    desk = desks(workers=1, queue=1, full="wait")

    def nest():
        futures = [desk.submit(one, float(i)) for i in range(3)]
        return {"refused": sum(f.done() and f.exception() is not None for f in futures)}

    assert desk.submit(nest).result(5) == {"refused": 2}


# -- places kept at the call --------------------------------------------------------------------------------


def test_place_kept_at_submit_is_filled_under_its_own_sequence_number(desk):
    from steno.journal.tailer import Tailer

    release = threading.Event()
    late = desk.submit(lambda: release.wait(60) and one(1.0), step_at="submit")
    failed = desk.submit(lambda: 1 / 0, step_at="submit")
    desk.recorder.log({"value": 2.0})
    release.set()
    late.result(5)
    assert isinstance(failed.exception(5), ZeroDivisionError)

    (segment,) = desk.dir.rglob("000000.seg")
    tailer = Tailer(segment)
    part = tailer.read(live=False)
    tailer.close()
    assert len(part.seq) == 3
    assert part.auto.all()
    fills = {fill.seq: fill.values for fill in part.fills}
    assert fills == {int(part.seq[0]): {"value": 1.0}, int(part.seq[1]): {}}


# -- cancelling -----------------------------------------------------------------------------------------------


def test_queued_task_can_be_cancelled_and_never_runs(desks):
    desk = desks(workers=1)
    futures, release = filled(desk, 1)

    assert futures[1].cancel()
    release.set()
    desk.register.close(5)

    assert desk.records() == []
    assert desk.register.health()["threading"]["cancelled"] == 1


def test_coroutine_that_is_cancelled_resolves_its_future(desk):
    async def main():
        future = desk.submit(later, 1.0, 60.0, mode="asyncio")
        await asyncio.sleep(0)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wrap_future(future)

    asyncio.run(main())
    assert desk.register.close(5) == []
    assert desk.register.health()["asyncio"]["cancelled"] == 1
    assert desk.records() == []


def test_coroutine_cancelled_before_its_first_step_resolves_too(desk):
    async def main():
        return desk.submit(later, 1.0, 60.0, mode="asyncio")

    future = asyncio.run(main())

    with pytest.raises(CancelledError):
        future.result(5)
    assert desk.register.health()["asyncio"]["running"] == 0


def test_coroutine_on_a_loop_that_was_closed_is_given_up(desk):
    loop = asyncio.new_event_loop()

    async def main():
        return desk.submit(later, 1.0, 60.0, mode="asyncio")

    future = loop.run_until_complete(main())
    held = list(asyncio.all_tasks(loop))
    loop.close()

    desk.register.close(5)

    with pytest.raises(TaskError, match="loop is closed"):
        future.result(0)
    for task in held:  # nobody will ever run it: say so to the interpreter
        task._log_destroy_pending = False
        task.get_coro().close()


@pytest.mark.timing
def test_coroutines_run_beside_each_other_and_their_futures_can_be_awaited(desk):
    async def main():
        began = time.monotonic()
        futures = [desk.submit(later, float(i), 0.2, mode="asyncio") for i in range(50)]
        values = [await asyncio.wrap_future(future) for future in futures]
        return values, time.monotonic() - began

    values, secs = asyncio.run(main())

    assert values == [{"value": float(i)} for i in range(50)]
    assert secs < 5
    assert sorted(record["value"] for record in desk.records()) == [float(i) for i in range(50)]


def test_pending_coroutine_survives_the_garbage_collector(desk):
    async def main():
        waker = asyncio.Event()

        async def wait():
            await waker.wait()
            return {"value": 1.0}

        future = desk.submit(wait, mode="asyncio")
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()
        waker.set()
        return await asyncio.wrap_future(future)

    assert asyncio.run(main()) == {"value": 1.0}


# -- the end --------------------------------------------------------------------------------------------------


def test_close_waits_for_all_then_takes_no_more(desk):
    futures = [desk.submit(lambda i=i: time.sleep(0.01) or one(float(i))) for i in range(20)]

    assert desk.register.close() == []
    assert all(future.done() for future in futures)
    with pytest.raises(ClosedError, match="after finish"):
        desk.submit(one)
    assert isinstance(ClosedError(), RuntimeError)


def test_task_may_ask_for_more_tasks_while_finish_waits(desk):
    def outer():
        time.sleep(0.05)
        inner = desk.submit(one, 2.0)
        return {"inner": inner.result(5)["value"]}

    future = desk.submit(outer)

    assert desk.register.close(5) == []
    assert future.result(0) == {"inner": 2.0}


@pytest.mark.timing
def test_time_limit_is_kept_and_what_is_left_is_named(desks):
    desk = desks(workers=1)
    futures, release = filled(desk, 2)

    began = time.monotonic()
    left = desk.register.close(0.3)
    took = time.monotonic() - began

    assert took < 0.5
    assert left == ["filled.<locals>.hold (running)", "one (queued)", "one (queued)"]
    assert any("3 async_log tasks were abandoned: filled.<locals>.hold (running)" in m for m in desk.said.values())
    for future in futures:
        with pytest.raises(TaskError, match="was abandoned while"):
            future.result(0)
    assert [task["state"] for task in desk.tasks()] == ["abandoned"] * 3
    release.set()


def test_abandoned_task_that_ends_after_all_records_nothing(desks):
    desk = desks(workers=1)
    release, ended = threading.Event(), threading.Event()

    def slow():
        release.wait(60)
        ended.set()
        return {"late": 1.0}

    desk.submit(slow)
    desk.register.close(0.05)
    release.set()
    assert ended.wait(60)
    wait_for(lambda: not any(thread.name.startswith("steno-async") for thread in threading.enumerate()))

    assert desk.records() == []


@pytest.mark.timing
def test_finish_in_the_loop_of_pending_tasks_says_so_at_once(desk):
    async def main():
        future = desk.submit(later, 1.0, 60.0, mode="asyncio")
        await asyncio.sleep(0)
        began = time.monotonic()
        left = desk.register.close(None)
        return future, left, time.monotonic() - began

    future, left, took = asyncio.run(main())

    assert took < 1
    assert left == ["later (running)"]
    assert any("await run.afinish()" in message for message in desk.said.values())
    with pytest.raises(TaskError, match="afinish"):
        future.result(0)


def test_base_exceptions_end_their_task_and_no_worker(desks):
    desk = desks(workers=1)

    def leave():
        raise SystemExit(3)

    def interrupt():
        raise KeyboardInterrupt

    futures = [desk.submit(func) for func in (leave, interrupt) for _ in range(4)]
    after = desk.submit(one)

    assert after.result(5) == {"value": 1.0}
    assert [type(future.exception(5)) for future in futures] == [SystemExit] * 4 + [KeyboardInterrupt] * 4


def test_base_exception_in_a_coroutine_does_not_leave_the_loop(desk):
    async def leave():
        raise SystemExit(3)

    async def main():
        future = desk.submit(leave, mode="asyncio")
        await asyncio.wait([asyncio.wrap_future(future)])
        return future

    assert isinstance(asyncio.run(main()).exception(0), SystemExit)


def test_health_counts_what_waits_and_runs(desks):
    desk = desks(workers=1)
    _, release = filled(desk, 4)

    health = desk.register.health()["threading"]
    assert (health["queued"], health["running"]) == (4, 1)
    release.set()
    desk.register.close(5)
    assert desk.register.health()["threading"]["done"] == 5


def test_ended_task_keeps_nothing_of_the_callers_alive(desk):
    import weakref

    class Model:
        pass

    model = Model()
    ref = weakref.ref(model)
    future = desk.submit(lambda _: {"a": 1.0}, model)
    future.result(5)
    del model
    wait_for(lambda: gc.collect() >= 0 and ref() is None)


def test_destination_in_the_process_sees_a_reserved_record_once_it_is_filled(desk):
    from steno.capture.inprocess.numbering import Numbering
    from steno.journal.tailer import Tailer

    (segment,) = desk.dir.rglob("000000.seg")
    tailer, numbering, seen = Tailer(segment), Numbering(), []

    def look():
        while (part := tailer.read(live=True)) is not None:
            seen.extend((r.step, r.values) for r in numbering.batch(part, tailer.identity).records())

    release = threading.Event()
    late = desk.submit(lambda: release.wait(60) and one(1.0), step_at="submit")
    failed = desk.submit(lambda: 1 / 0, step_at="submit")
    desk.recorder.log({"value": 2.0})
    failed.exception(5)
    look()
    assert seen == [(2, {"value": 2.0})]
    release.set()
    late.result(5)
    look()
    tailer.close()
    assert seen == [(2, {"value": 2.0}), (0, {"value": 1.0})]


def test_process_without_room_for_threads_gives_the_error_to_the_future(desk, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(TaskError, match="no thread could be started"):
        desk.submit(one).result(0)


def test_signal_handler_may_submit_while_a_submit_is_interrupted(desk):
    import signal

    futures = []
    old = signal.signal(signal.SIGALRM, lambda *_: futures.append(desk.submit(one, 1.0)))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        deadline = time.monotonic() + 20
        while len(futures) < 50 and time.monotonic() < deadline:
            futures.append(desk.submit(one, 2.0))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert [future.result(5) for future in futures]
    assert len(desk.records()) == len(futures)
