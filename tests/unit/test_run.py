"""init, Run, the current run, children that join."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import run_programs
from run_programs import entries, journals, ok

import steno
from steno.errors import (
    DestinationError,
    NoRunError,
    RunExistsError,
    RunNotFoundError,
    UsageError,
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    run_programs.no_launcher(monkeypatch)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    monkeypatch.chdir(tmp_path)
    as_in_a_fresh_process()
    yield
    if steno.current() is not None:
        steno.current().finish(0)
    as_in_a_fresh_process()


def as_in_a_fresh_process():
    """No run was ever current."""
    import steno.face as module
    from steno.capture.open_runs import RUNS

    RUNS.last = None
    module._log = module._first_log


def run_json(run: steno.Run) -> dict:
    return json.loads((run.dir / "run.json").read_text())


# -- the way it works ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("road")
def test_what_is_logged_is_in_the_journal_with_start_and_finish():
    with steno.init("digits", "a", {"lr": 0.1}, tags=["x"], notes="n", group="g") as run:
        run.log({"loss": 0.5, "opt": {"lr": 0.1}}, step=3)
        run.log({"loss": 0.25})
        run.event("epoch_end", step=3, epoch=1)
    (journal,) = journals(run.dir)
    assert journal.records == [{"loss": 0.5, "opt/lr": 0.1}, {"loss": 0.25}]
    assert journal.steps == [3, None]
    kinds = [kind for kind, _ in journal.entries]
    assert kinds == ["start", "event", "finish"]
    start, event, finish = (payload for _, payload in journal.entries)
    assert start["pid"] == os.getpid()
    assert (start["rank"], start["world_size"], start["primary"]) == (0, 1, True)
    assert event == {"name": "epoch_end", "epoch": 1}
    assert finish == {"state": "finished"}


def test_run_json_tells_who_the_run_is():
    run = steno.init("digits", "a", {"lr": 0.1, "path": Path("/x"), "inf": float("inf"), "api_key": "k"}, tags="t")
    about = run_json(run)
    assert about["config"] == {"lr": 0.1, "path": "/x", "inf": float("inf"), "api_key": "***"}
    assert (about["id"], about["name"], about["project"], about["tags"]) == (run.id, "a", "digits", ["t"])
    assert run.config["api_key"] == "k"
    assert about["python"]
    assert about["host"]
    assert run.dir == Path.cwd() / "runs" / "digits" / "a"


def test_log_has_no_wrapper():
    run = steno.init()
    assert run.log is run._started.recorder.log


@pytest.mark.usefixtures("road")
def test_step_is_the_next_automatic_one():
    run = steno.init()
    assert run.step == 0
    for _ in range(3):
        run.log({"a": 1.0, "b": 2.0})
    assert run.step == 3
    run.log({"a": 1.0}, step=10)
    run.log({"a": 1.0}, step=4)
    run.event("x", step=99)
    assert run.step == 11
    run.log({"a": 1.0})
    assert run.step == 12


def test_config_and_summary_are_journalled():
    run = steno.init(config={"lr": 0.1})
    run.config.update(seed=1)
    run.config["api_token"] = "s3cret"
    run.summary["best"] = 0.97
    steno.config["late"] = [1, 2]
    steno.summary["n"] = 2**70
    assert entries(run.dir, "config") == [{"seed": 1}, {"api_token": "***"}, {"late": [1, 2]}]
    assert entries(run.dir, "summary") == [{"best": 0.97}, {"n": str(2**70)}]
    assert dict(run.config) == {"lr": 0.1, "seed": 1, "api_token": "s3cret", "late": [1, 2]}
    with pytest.raises(TypeError, match="set it to None"):
        del run.config["lr"]


def test_config_may_be_a_namespace():
    run = steno.init(config=argparse.Namespace(lr=0.5))
    assert run.config == {"lr": 0.5}


def test_finish_twice_says_the_same_and_log_after_it_is_said_once(capsys):
    run = steno.init()
    run.log({"a": 1.0})
    assert run.finish() is False  # nobody posts
    assert run.finish() is False
    assert steno.finish() is False
    for _ in range(3):
        run.log({"a": 2.0})
        steno.log({"a": 2.0})
        run.event("x")
        run.config["a"] = 1
    assert capsys.readouterr().err.count("after finish") == 1
    assert journals(run.dir)[0].records == [{"a": 1.0}]


@pytest.mark.timing
def test_without_a_collector_flush_and_finish_do_not_wait():
    import time

    run = steno.init()
    run.log({"a": 1.0})
    began = time.monotonic()
    assert run.flush() is False
    assert run.finish(timeout=30) is False
    assert time.monotonic() - began < 1


def test_init_again_finishes_the_current_run_and_says_so(capsys):
    first = steno.init(name="a")
    second = steno.init(name="b")
    assert steno.current() is second
    assert "'a' is finished now, since init is called again" in capsys.readouterr().err
    assert entries(first.dir, "finish") == [{"state": "finished"}]


def test_the_environment_is_put_back():
    run = steno.init(journal_dir="journals")
    assert os.environ["STENO_RUN_DIR"] == str(run.dir)
    assert list(Path("journals").iterdir())
    run.finish()
    assert not {"STENO_RUN_DIR", "STENO_RUN_AS", "STENO_JOURNAL_DIR"} & set(os.environ)


def test_mode_off_has_the_same_api_and_leaves_nothing(tmp_path):
    with steno.init("p", "n", {"a": 1}, mode="off", destinations=["tensorboard"]) as run:
        run.log({"a": 1}, step=2)
        steno.log({"a": object()})
        run.event("x")
        run.config["b"] = 2
        run.summary["c"] = 3
        assert run.flush()
        assert (run.name, run.project, run.rank, run.attempt, run.step) == ("n", "p", 0, 1, 0)
        assert run.health()
    assert run.finish()
    assert list(tmp_path.iterdir()) == []


def test_afinish_does_not_hold_the_loop():
    import asyncio

    async def main() -> bool:
        run = steno.init()
        return await run.afinish(0)

    hooks = signal.getsignal(signal.SIGTERM), sys.excepthook
    assert asyncio.run(main()) is False
    assert steno.current() is None
    assert (signal.getsignal(signal.SIGTERM), sys.excepthook) == hooks


def test_resume_continues_in_a_new_attempt_and_config_conflicts_are_said(capsys):
    first = steno.init(name="a", config={"lr": 0.1, "n": 1}, tags=["x"])
    first.finish()
    again = steno.init(name="a", resume=True, config={"lr": 0.2, "new": 3}, tags=["y"])
    assert (again.id, again.attempt) == (first.id, 2)
    assert again.config == {"lr": 0.2, "n": 1, "new": 3}
    assert entries(again.dir, "config") == [{"lr": 0.2, "new": 3}]
    assert run_json(again)["tags"] == ["x", "y"]
    assert "lr: 0.1 → 0.2" in capsys.readouterr().err
    again.finish()
    rewound = steno.init(name="a", rewind=10)
    assert entries(rewound.dir, "start")[-1]["rewind"] == 10
    assert rewound.attempt == 3


def test_destinations_are_entered_once_and_unite(capsys):
    first = steno.init(name="a", destinations=["tensorboard"])
    place = first.dir / ".steno" / "destinations"
    assert json.loads((place / "tensorboard.json").read_text()) == {
        "name": "tensorboard",
        "kind": "file",
        "options": {},
    }
    out = run_programs.ok(
        "import steno; r = steno.init(name='a', destinations=['tensorboard', 'jsonl']); print(r.attempt)", Path.cwd()
    )
    assert out == "1\n"
    assert sorted(p.name for p in place.iterdir()) == ["jsonl.json", "tensorboard.json"]


@pytest.mark.usefixtures("road")
def test_a_destination_object_gets_what_this_process_logs():
    class Mine:
        def __init__(self) -> None:
            self.rows: list = []
            self.closed = 0

        def open(self, run) -> None:
            self.run = run

        def write(self, batch) -> None:
            self.rows += [(record.step, record.values) for record in batch.records()]

        def flush(self) -> None: ...

        def close(self) -> None:
            self.closed += 1

    mine = Mine()
    run = steno.init(name="a", destinations=[mine])
    for step in range(100):
        run.log({"a": float(step)}, step=step)
    run.finish()
    assert mine.rows == [(step, {"a": float(step)}) for step in range(100)]
    assert mine.closed == 1
    assert mine.run.id == run.id


@pytest.mark.usefixtures("road")
def test_health_and_repr():
    run = steno.init(name="a")
    run.log({"bad": object(), "good": 1.0}, step=0)
    health = run.health()
    assert health["reported"]
    assert health["collector"]["alive"] is False
    assert "default/a rank 0, recording" in repr(run)


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "../x"}, UsageError, "path separator"),
        ({"name": "/.."}, UsageError, "path separator"),
        ({"project": "a/b"}, UsageError, "project"),
        ({"mode": "onwards"}, UsageError, "'on' or 'off'"),
        ({"rank": -1}, UsageError, "rank=-1"),
        ({"rank": "0"}, UsageError, "rank='0'"),
        ({"rank": True}, UsageError, "rank=True"),
        ({"rewind": 1.5, "name": "a"}, UsageError, "rewind=1.5"),
        ({"rewind": 1, "name": "a", "resume": False}, UsageError, "resume=False cannot"),
        ({"rewind": 1}, UsageError, "rewind needs the run"),
        ({"resume": True}, UsageError, "resume=True needs the run"),
        ({"resume": True, "name": "a"}, RunNotFoundError, "no run 'a'"),
        ({"resume": "yes", "name": "a"}, UsageError, "resume='yes'"),
        ({"resume": "must"}, UsageError, "resume='must' needs the run"),
        ({"resume": "allow"}, UsageError, "resume='allow' needs the run"),
        ({"resume": "must", "name": "a"}, RunNotFoundError, "no run 'a'"),
        ({"resume": "never", "name": "a", "rewind": 1}, UsageError, "resume='never' cannot"),
        ({"reinit": "new"}, UsageError, "reinit='new'"),
        ({"destinations": ["tensorbord"]}, DestinationError, "tensorboard"),
        ({"destinations": [object()]}, DestinationError, "open, write, flush, close"),
        ({"destinations": 7}, UsageError, "a list"),
        ({"arrays": "all"}, UsageError, "'histogram'"),
        ({"config": [1]}, UsageError, "config must be"),
        ({"dir": "/proc/steno"}, UsageError, "STENO_DIR"),
        ({"dir": 3}, UsageError, "a path is needed"),
        ({"journal_dir": "/proc/steno"}, UsageError, "journal_dir="),
        ({"linger": -1}, UsageError, "linger=-1"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(arguments, error, words, tmp_path):
    with pytest.raises(error) as caught:
        steno.init(**arguments)
    assert words in str(caught.value)
    assert steno.current() is None
    assert [p for p in tmp_path.rglob("*") if p.name == "run.json"] == []


def test_resume_false_refuses_an_ended_run():
    steno.init(name="a").finish()
    with pytest.raises(RunExistsError):
        steno.init(name="a", resume=False)


def test_a_failed_init_leaves_the_current_run_alone():
    run = steno.init(name="a")
    with pytest.raises(UsageError):
        steno.init(name="/..")
    assert steno.current() is run
    run.log({"a": 1.0})


@pytest.mark.parametrize("call", ["log", "event", "flush", "config", "summary"])
def test_without_a_run_the_error_says_what_to_call(call):
    calls = {
        "log": lambda: steno.log({"a": 1}),
        "event": lambda: steno.event("x"),
        "flush": steno.flush,
        "config": lambda: steno.config["a"],
        "summary": lambda: steno.summary.update(a=1),
    }
    with pytest.raises(NoRunError, match=f"steno.{call} needs a run: call steno.init"):
        calls[call]()


# -- more processes ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing_children_join_by_their_first_log(method, tmp_path):
    out = ok(
        f"""
        import multiprocessing, steno

        def work(number):
            steno.log({{"child": float(number)}})

        if __name__ == "__main__":
            run = steno.init(name="a", rank=3)
            run.log({{"parent": 1.0}})
            context = multiprocessing.get_context({method!r})
            children = [context.Process(target=work, args=(n,)) for n in range(3)]
            for child in children: child.start()
            for child in children: child.join()
            assert [child.exitcode for child in children] == [0, 0, 0]
            print(run.dir)
        """,
        tmp_path,
    )
    found = journals(Path(out.strip()))
    assert len(found) == 4
    assert all((journal.rank, journal.attempt) == (3, 1) for journal in found)
    assert sorted(journal.primary for journal in found) == [False, False, False, True]
    rows = sorted((record for journal in found for record in journal.records), key=str)
    assert rows == [{"child": 0.0}, {"child": 1.0}, {"child": 2.0}, {"parent": 1.0}]
    finishes = [
        payload for journal in found if journal.primary for kind, payload in journal.entries if kind == "finish"
    ]
    assert finishes == [{"state": "finished"}]


def test_unrelated_subprocesses_do_not_join(tmp_path):
    out = ok(
        """
        import steno, subprocess, sys
        steno.init(name="a")
        print(subprocess.run([sys.executable, "-c", "import steno; steno.log({'a': 1})"], capture_output=True, text=True).stderr)
        """,
        tmp_path,
    )
    assert "NoRunError" in out


def test_two_programs_join_one_run_while_it_is_live(tmp_path):
    code = "import steno, sys; r = steno.init(name='a'); r.log({'a': 1.0}); print(r.name, flush=True); sys.stdin.read()"
    with run_programs.start(code, tmp_path) as first, run_programs.start(code, tmp_path) as second:
        assert {first.stdout.readline(), second.stdout.readline()} == {"a\n"}
        first.stdin.close()
        second.stdin.close()
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert len(journals(tmp_path / "runs/default/a")) == 2
    assert ok("import steno; print(steno.init(name='a').name)", tmp_path) == "a-2\n"


def test_ranks_of_a_launcher_meet_without_a_name(tmp_path):
    code = "import steno; r = steno.init(); r.log({'rank': float(r.rank)}, step=0); print(r.name, r.attempt)"
    env = {"SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "3"}
    programs = [run_programs.start(code, tmp_path, SLURM_PROCID=str(rank), **env) for rank in range(3)]
    outs = {program.communicate(timeout=60)[0] for program in programs}
    for program in programs:
        assert program.returncode == 0
    assert outs == {"slurm-9-0 1\n"}
    found = journals(tmp_path / "runs/default/slurm-9-0")
    assert sorted((journal.rank, journal.records[0]["rank"]) for journal in found) == [(0, 0.0), (1, 1.0), (2, 2.0)]


@pytest.mark.usefixtures("road")
def test_a_forked_childs_finish_ends_only_its_own_journal(tmp_path):
    out = ok(
        """
        import os, steno
        run = steno.init(name="a")
        run.log({"a": 0.0})
        for how in ("finish", "exit", "with"):
            pid = os.fork()
            if pid == 0:
                run.log({how: 1.0})
                if how == "finish":
                    run.finish()
                    os._exit(0)
                if how == "with":
                    try:
                        with run: raise ValueError
                    except ValueError: os._exit(0)
                raise SystemExit(0)
            assert os.waitpid(pid, 0)[1] == 0
        run.log({"a": 2.0})
        print(run.dir)
        """,
        tmp_path,
    )
    found = journals(Path(out.strip()))
    (parent,) = (journal for journal in found if journal.primary)
    assert parent.records == [{"a": 0.0}, {"a": 2.0}]
    assert [kind for kind, _ in parent.entries] == ["start", "finish"]
    children = [journal for journal in found if not journal.primary]
    assert sorted(next(iter(journal.records[0])) for journal in children) == ["exit", "finish", "with"]
    assert [kind for journal in children for kind, _ in journal.entries] == []


def test_a_forked_child_may_begin_a_run_of_its_own(tmp_path):
    out = ok(
        """
        import os, steno
        run = steno.init(name="a")
        run.log({"a": 0.0})
        pid = os.fork()
        if pid == 0:
            mine = steno.init(name="b")
            steno.log({"b": 1.0})
            raise SystemExit(0)
        assert os.waitpid(pid, 0)[1] == 0
        steno.log({"a": 2.0})
        print(run.dir)
        """,
        tmp_path,
    )
    (parent,) = journals(Path(out.strip()))
    assert parent.records == [{"a": 0.0}, {"a": 2.0}]
    (child,) = journals(tmp_path / "runs/default/b")
    assert child.records == [{"b": 1.0}]
    assert [kind for kind, _ in child.entries] == ["start", "finish"]


def test_a_directory_of_another_user_is_one_clear_error(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs to become another user")
    code = """
    import os, steno
    steno.init  # loaded while its file can be read
    os.setgid(65534); os.setuid(65534)
    try:
        steno.init(dir="/steno-runs")
    except steno.UsageError as error:
        print(error)
    """
    assert "STENO_DIR to a directory you can write" in ok(code, tmp_path)


def test_what_fails_late_in_init_leaves_no_run_behind(monkeypatch):
    from steno.capture.start import beginning

    monkeypatch.setattr(beginning, "_merge_config", None)
    first = steno.init(name="a")
    first.finish(0)
    threads = threading.active_count()
    with pytest.raises(TypeError):
        steno.init(name="a", resume=True)
    assert threading.active_count() == threads
    assert "STENO_RUN_DIR" not in os.environ


def test_threads_that_begin_at_once_get_one_run_each_in_turn():
    runs: list = []
    threads = [threading.Thread(target=lambda: runs.append(steno.init(name="a"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.name for run in runs) == ["a", "a-2", "a-3", "a-4"]
    assert steno.current() is not None


# -- the ends --------------------------------------------------------------------------------------------------


def finish_of(tmp_path: Path) -> dict:
    (run_dir,) = (tmp_path / "runs" / "default").glob("[!.]*")
    (finish,) = entries(run_dir, "finish")
    return finish


def test_lifecycle_an_exit_without_finish_is_marked(tmp_path):
    ok("import steno; steno.init().log({'a': 1.0})", tmp_path)
    assert finish_of(tmp_path) == {"state": "finished"}


def test_lifecycle_an_uncaught_exception_is_kept_and_still_printed(tmp_path):
    done = run_programs.run("import steno; steno.init(); raise ValueError('no luck')", tmp_path)
    assert done.returncode == 1
    assert "ValueError: no luck" in done.stderr
    finish = finish_of(tmp_path)
    assert (finish["state"], finish["error"]) == ("failed", "ValueError: no luck")
    assert "raise ValueError('no luck')" in finish["traceback"]


def test_lifecycle_a_hook_of_the_program_is_still_called(tmp_path):
    code = """
    import steno, sys
    sys.excepthook = lambda *a: print("mine")
    steno.init()
    raise ValueError
    """
    done = run_programs.run(code, tmp_path)
    assert done.stdout == "mine\n"
    assert finish_of(tmp_path)["state"] == "failed"


def test_lifecycle_an_exception_in_the_with_block_fails_the_run_and_goes_on(tmp_path):
    code = """
    import steno
    try:
        with steno.init() as run:
            raise KeyError("x")
    except KeyError:
        print("seen", run)
    """
    assert "seen" in ok(code, tmp_path)
    assert finish_of(tmp_path)["error"] == "KeyError: 'x'"


@pytest.mark.parametrize(("code", "state"), [("0", "finished"), ("3", "failed")])
def test_lifecycle_sys_exit_in_the_with_block(tmp_path, code, state):
    done = run_programs.run(f"import steno, sys\nwith steno.init(): sys.exit({code})", tmp_path)
    assert done.returncode == int(code)
    assert finish_of(tmp_path)["state"] == state


@pytest.mark.parametrize(
    ("code", "returncode", "error"),
    [
        ("sys.exit(1)", 1, "SystemExit: 1"),
        ("sys.exit('no data')", 1, "SystemExit: no data"),
        ("exit(4)", 4, "SystemExit: 4"),
        ("def end(): quit('no data')\nend()", 1, "SystemExit: no data"),
        ("exit()", 0, None),
        ("raise SystemExit(1)", 1, "SystemExit: 1"),
        ("if run: raise SystemExit('no data')", 1, "SystemExit: no data"),
        ("raise SystemExit(0)", 0, None),
        ("raise SystemExit", 0, None),
        ("try: exit(3)\nexcept SystemExit: pass", 0, None),
        ("leave(3)", 3, "SystemExit: 3"),
        ("try: leave(3)\nfinally: print('tidied')", 3, "SystemExit: 3"),
        ("with open('f', 'w'): leave(3)", 3, "SystemExit: 3"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--none'])", 2, "SystemExit: 2"),
        ("sys.exit()", 0, None),
        ("sys.exit(0)", 0, None),
        ("try: leave(3)\nexcept SystemExit: pass", 0, None),
        ("try: leave(3)\nexcept SystemExit: sys.exit(0)", 0, None),
        ("import threading; one = threading.Thread(target=leave, args=(3,)); one.start(); one.join()", 0, None),
        ("pid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)", 0, None),
        ("run.finish(); sys.exit(1)", 1, None),
    ],
)
def test_lifecycle_the_code_of_an_exit_is_the_runs_end(tmp_path, code, returncode, error):
    before = (
        "import os, steno, sys\nrun = steno.init()\ndef leave(code):\n    run.log({'a': 1.0})\n    sys.exit(code)\n"
    )
    done = run_programs.run(before + code, tmp_path)
    assert done.returncode == returncode, done.stderr
    assert finish_of(tmp_path).get("error") == error
    assert finish_of(tmp_path)["state"] == ("failed" if error else "finished")


WAITING = """
import signal, steno, time
{before}
run = steno.init()
run.log({{"a": 1.0}})
print("ready", flush=True)
while True: time.sleep(0.01)
"""


def test_lifecycle_sigterm_is_marked_and_kills_as_it_would(tmp_path):
    with run_programs.start(WAITING.format(before=""), tmp_path) as program:
        program.stdout.readline()
        program.terminate()
        assert program.wait(60) == -signal.SIGTERM
    assert finish_of(tmp_path) == {"state": "failed", "error": "SIGTERM", "traceback": ""}


def test_lifecycle_a_sigterm_handler_of_the_program_stays(tmp_path):
    before = "import sys; signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))"
    with run_programs.start(WAITING.format(before=before), tmp_path) as program:
        program.stdout.readline()
        program.terminate()
        assert program.wait(60) == 7
    assert finish_of(tmp_path)["error"] == "SystemExit: 7"


def test_lifecycle_an_ignored_sigterm_stays_ignored(tmp_path):
    with run_programs.start(
        WAITING.format(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)"), tmp_path
    ) as program:
        program.stdout.readline()
        program.terminate()
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == -signal.SIGINT
    assert finish_of(tmp_path)["error"] == "interrupted"


@pytest.mark.usefixtures("road")
def test_lifecycle_a_kill_leaves_what_was_logged_and_no_mark(tmp_path):
    with run_programs.start(WAITING.format(before=""), tmp_path) as program:
        program.stdout.readline()
        program.kill()
        program.wait(60)
    (run_dir,) = (tmp_path / "runs" / "default").glob("[!.]*")
    assert journals(run_dir)[0].records == [{"a": 1.0}]
    assert entries(run_dir, "finish") == []


@pytest.mark.usefixtures("road")
def test_lifecycle_os_exit_loses_nothing(tmp_path):
    ok("import os, steno\nsteno.init(name='a').log({'a': 1.0})\nos._exit(0)", tmp_path)
    assert journals(tmp_path / "runs/default/a")[0].records == [{"a": 1.0}]


def test_lifecycle_the_hooks_are_put_back():
    import sys

    before = (sys.excepthook, signal.getsignal(signal.SIGTERM), sys.exit)
    run = steno.init()
    assert sys.excepthook != before[0]
    assert sys.exit != before[2]
    run.finish()
    assert (sys.excepthook, signal.getsignal(signal.SIGTERM), sys.exit) == before


def test_sync_of_a_run_of_our_own_leaves_its_lock_alone(tmp_path, monkeypatch):
    """Opening and closing a file drops the POSIX locks that this process holds on it."""
    monkeypatch.setenv("STENO_COLLECTOR", "")
    run = steno.init(project="p", name="own", dir=tmp_path)
    run.log({"a": 1.0}, 0)
    report = steno.sync(run, timeout=20)
    alive = next((run.dir / ".steno" / "journal").glob("*/alive"))
    code = f"from steno.host import is_locked; print(is_locked({str(alive)!r}))"
    assert ok(code, tmp_path).strip() == "True"
    assert not report.error
    assert run.finish(timeout=60)
