"""Whole runs with the real collector: started, watched, outlived, caught up with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
import run_programs
from run_programs import ok, wait_for

import steno
import under_test


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield
    if steno.current() is not None:
        steno.current().finish(0)
    run_programs.no_further_run()
    # No collector outlives its test.
    with contextlib.suppress(FileNotFoundError):  # a run that has ended puts its machinery away meanwhile
        for status in tmp_path.rglob("status.json"):
            pid = json.loads(status.read_text())["pid"]
            wait_for(lambda pid=pid: not running(pid))


def running(pid: int) -> bool:
    try:
        return b"steno.collector" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def values(run_dir, key: str) -> list:
    return steno.open(run_dir).series(key).value.tolist()


def test_a_run_is_read_and_delivered_when_finish_says_so():
    run = steno.init("p", "a", {"lr": 0.1}, destinations=["csv", "jsonl"])
    for step in range(50):
        run.log({"loss": float(step)}, step=step)
    run.summary["best"] = 1.5
    assert run.finish(60) is True
    book = steno.open(run.dir)
    assert book.series("loss").value.tolist() == [float(step) for step in range(50)]
    assert (book.info.state, book.info.id, book.info.config["lr"]) == ("finished", run.id, 0.1)
    assert len((run.dir / "metrics.jsonl").read_text().splitlines()) >= 50
    report = steno.sync(run, timeout=30)
    assert (report.complete, report.lacking, report.unposted, report.error) == (True, (), (), "")


def test_flush_means_that_another_process_reads_it():
    run = steno.init(name="a")
    for number in range(10):
        run.log({"a": float(number)})
        assert run.flush(60)
        assert values(run.dir, "a") == [float(n) for n in range(number + 1)]
        assert run.step == number + 1


def test_a_killed_collector_is_started_again_and_nothing_is_missing():
    run = steno.init(name="a")
    run.log({"a": 0.0})
    assert run.flush(60)
    pid = run._started.watchdog.pid
    os.kill(pid, signal.SIGKILL)
    run.log({"a": 1.0})
    assert run.flush(60)
    assert run._started.watchdog.pid not in {None, pid}
    assert run.health()["collector"].items() >= {"enabled": True, "alive": True, "deaths": 1}.items()
    assert values(run.dir, "a") == [0.0, 1.0]
    assert run.finish(60)


def test_journalled_without_a_collector_and_caught_up_later(monkeypatch):
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    with steno.init(name="a", destinations=["csv"]) as run:
        run.log({"a": 1.0}, step=0)
    assert run.finish() is False
    assert not (run.dir / "metrics.csv").exists()
    report = steno.sync(run.dir, to="jsonl", timeout=60)
    assert report.complete, report
    assert set(report.destinations) == {"csv", "jsonl"}
    assert values(run.dir, "a") == [1.0]
    assert (run.dir / "metrics.csv").exists()
    assert (run.dir / "metrics.jsonl").exists()


def test_ranks_share_one_collector(tmp_path):
    code = """
    import steno, sys
    run = steno.init()
    for i in range(20): run.log({"a": float(i)}, step=i)
    assert run.flush(30)
    print(run._started.watchdog.pid, flush=True)
    sys.stdin.readline()
    """
    env = {"SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "3", "STENO_COLLECTOR": "on"}
    programs = [run_programs.start(code, tmp_path, SLURM_PROCID=str(rank), **env) for rank in range(3)]
    pids = [program.stdout.readline().strip() for program in programs]
    for program in programs:
        _, err = program.communicate("\n", timeout=60)
        assert (program.returncode, under_test.without_waits(err)) == (0, "")
    assert pids.count("None") == 2
    book = steno.open(tmp_path / "runs/default/slurm-9-0")
    for rank in range(3):
        assert book.series("a", rank=rank).value.tolist() == [float(i) for i in range(20)]
    assert book.info.state == "finished"


def test_an_exit_without_finish_is_posted_when_the_program_is_gone(tmp_path):
    ok("import steno; steno.init(name='a').log({'a': 1.0})", tmp_path, STENO_COLLECTOR="on")
    assert values(tmp_path / "runs/default/a", "a") == [1.0]


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("os.kill(os.getpid(), 9)", "crashed"),
        ("os.kill(os.getpid(), 15)", "failed"),
        ("raise ValueError('no')", "failed"),
        ("sys.exit(0)", "finished"),
    ],
)
def test_how_a_program_ended_is_the_state_of_the_run(tmp_path, end, state):
    code = f"import os, sys, steno\nrun = steno.init(name='a')\nrun.log({{'a': 1.0}})\nassert run.flush(30)\n{end}"
    run_programs.run(code, tmp_path, STENO_COLLECTOR="on")
    run_dir = tmp_path / "runs/default/a"
    # The collector reads the last frames, the mark among them, a moment after the process is gone.
    wait_for(lambda: steno.open(run_dir).info.state == state)
    assert values(run_dir, "a") == [1.0]


def test_a_pool_of_workers_is_terminated_without_failing_the_run(tmp_path):
    code = """
    import multiprocessing, steno

    def work(n):
        steno.log({"child": float(n)})
        return n

    if __name__ == "__main__":
        run = steno.init(name="a")
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert sorted(pool.map(work, range(10))) == list(range(10))
        assert run.finish(30)
    """
    ok(code, tmp_path, STENO_COLLECTOR="on")
    run_dir = tmp_path / "runs/default/a"
    # finish waits for this process's journal; its children's are posted by the collector in its own time.
    wait_for(lambda: sorted(values(run_dir, "child")) == sorted([float(n) for n in range(10)] * 2))
    assert steno.open(run_dir).info.state == "finished"


def test_children_leave_sigterm_to_the_kernel(tmp_path):
    """A pool's terminate waits for its workers, and one blocked in a semaphore may miss what Python has to act on."""
    code = """
    import multiprocessing, os, signal, steno

    def work(answers):
        steno.log({"child": 1.0})
        steno.SummaryWriter("board").add_scalar("child", 1.0)
        answers.put(signal.getsignal(signal.SIGTERM))

    if __name__ == "__main__":
        run = steno.init(name="a")
        writer = steno.SummaryWriter("board")
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            answers = context.Queue()
            child = context.Process(target=work, args=(answers,))
            child.start()
            assert answers.get(timeout=50) == signal.SIG_DFL, method
            child.join()
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        writer.close()
    """
    ok(code, tmp_path)


def test_resume_counts_on_and_rewind_hides():
    first = steno.init(name="a")
    for _ in range(10):
        first.log({"a": 1.0})
    first.finish(20)
    again = steno.init(name="a", resume=True)
    again.log({"a": 2.0})
    assert again.flush(60)
    assert again.step == 11
    again.finish(20)
    rewound = steno.init(name="a", rewind=5)
    assert rewound.step == 5  # whatever a collector said before
    rewound.log({"a": 3.0}, step=5)
    assert rewound.step == 6
    rewound.finish(20)
    series = steno.open(rewound.dir).series("a")
    assert series.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert series.value.tolist() == [1.0] * 5 + [3.0]
    assert len(steno.open(rewound.dir).series("a", attempt="all").value) == 12
