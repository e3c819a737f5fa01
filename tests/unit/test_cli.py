"""The commands on real runs: what they print, for people and for programs, and how they fail."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

import steno
from steno import habits
from steno.cli import main
from steno.cli.commands import COMMANDS, app_for

NAMES = [command.name for command in app_for([]).registered_commands]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory of runs: `digits/first` with three ranks' worth of values, `digits/second`, all posted."""
    found = tmp_path_factory.mktemp("runs")
    with steno.init(
        project="digits", name="first", dir=found, collector=False, config={"lr": 0.5, "note": "[red]x[/]"}
    ) as run:
        for step in range(50):
            run.log({"train/loss": math.exp(-step / 9), "train/lr": 0.5, "[bold]odd": float(step)}, step=step)
        run.log({"text": "two\nlines", "gap": float("nan"), "big": 2**70}, step=50)
        run.event("milestone", level=3)
    steno.sync(run.dir)
    with steno.init(project="digits", name="second", dir=found, collector=False) as run:
        run.log({"train/loss": 1.0}, step=0)
    steno.sync(run.dir)
    return found


@pytest.fixture
def run(place, monkeypatch, capfd):
    """Calls `steno` in this process; gives (exit status, standard output, standard error)."""
    monkeypatch.setenv("STENO_DIR", str(place))
    monkeypatch.setenv("COLUMNS", "140")

    def call(*arguments):
        capfd.readouterr()
        status = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code or 0
        out = capfd.readouterr()
        return status, out.out, out.err

    return call


def parsed(line):
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(run, name):
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"Example: steno {name}" in " ".join(out.split())
    assert len(out) > 200


def test_version(run):
    assert run("--version")[:2] == (0, f"steno {steno.__version__}\n")


@pytest.mark.parametrize("name", [name for name in NAMES if name in {"show", "tail", "export", "sync", "doctor"}])
def test_a_wrong_run_is_one_clear_line_and_status_2(run, name):
    options = ["--to", "csv"] if name in {"export", "sync"} else []
    status, out, err = run(name, "digits/frist", *options)
    assert status == 2
    assert out == ""
    assert err.startswith("steno: ")
    assert err.count("\n") == 1
    assert "digits/frist" in err
    assert "digits/first" in err, "the nearest run is named"


def test_wrong_usage_is_status_2(run):
    assert run("tail")[0] == 2
    assert run("export", "digits/first", "--to", "xml")[0] == 2
    assert run("nonsense")[0] == 2


def test_a_command_of_another_program_is_answered_with_ours(run):
    status, _, err = run("ls")
    assert status == 2
    assert "'steno runs'" in err
    for name, answer in habits.COMMANDS.items():
        assert name not in COMMANDS
        assert all(word in COMMANDS for word in re.findall(r"'steno (\w+)", answer))


def test_runs_lists_the_newest_first(run):
    status, out, _ = run("runs")
    assert status == 0
    assert out.index("digits/second") < out.index("digits/first")
    assert "finished" in out
    found = parsed(run("runs", "--json", "--last", "1")[1])
    assert [one["name"] for one in found] == ["second"]


def test_runs_of_an_empty_directory(run, tmp_path):
    status, out, _ = run("runs", "--dir", tmp_path)
    assert status == 0
    assert "no runs" in out


def test_show_has_state_values_and_a_chart(run):
    status, out, _ = run("show", "digits/first")
    assert status == 0
    assert "digits/first" in out
    assert "finished" in out
    assert "[red]x[/]" in out, "a configuration is no markup"
    assert "[bold]odd" in out, "a key is no markup"
    assert any("\u2801" <= character <= "\u28ff" for character in out)
    assert "\x1b" not in out


def test_show_draws_what_is_asked_for(run):
    out = run("show", "first", "--key", "train/*")[1]
    assert "train/loss" in out
    assert "train/lr" in out
    assert "text" not in out
    status, _, err = run("show", "first", "--key", "nothing*")
    assert status == 2
    assert "train/loss" in err
    status, _, err = run("show", "first", "--rank", "7")
    assert status == 2
    assert "rank 7" in err


def test_show_json_is_exact(run):
    found = parsed(run("show", "first", "--json", "--points", "1000")[1])
    series = found["series"]["train/loss"]["0"]
    assert series["step"] == list(range(50))
    assert series["value"] == [math.exp(-step / 9) for step in range(50)]
    assert found["series"]["gap"]["0"]["value"] == ["NaN"]
    assert found["series"]["big"]["0"]["value"] == [2**70]
    assert found["series"]["text"]["0"]["value"] == ["two\nlines"]
    assert found["info"]["config"]["lr"] == 0.5
    assert found["summary"]["train/loss"]["last"] == math.exp(-49 / 9)


def test_show_points_bounds_a_line(run):
    found = parsed(run("show", "first", "--json", "--key", "train/loss", "--points", "10")[1])
    value = found["series"]["train/loss"]["0"]["value"]
    assert len(value) <= 10
    assert max(value) == 1.0


def test_tail_prints_the_last_records(run):
    status, out, _ = run("tail", "first", "--last", "3")
    assert status == 0
    assert "milestone" in out
    assert "two lines" in out, "a record stays on its line"
    lines = [parsed(line) for line in run("tail", "first", "--last", "100", "--json", "--no-follow")[1].splitlines()]
    records = [line for line in lines if "values" in line]
    assert [record["step"] for record in records] == list(range(51))
    assert records[7]["values"]["train/loss"] == math.exp(-7 / 9)
    assert records[50]["values"] == {"big": 2**70, "gap": "NaN", "text": "two\nlines"}


def test_tail_follows_a_live_run(tmp_path, monkeypatch):
    """`steno tail` in another process prints records logged after it began, and leaves when the run has ended."""
    with steno.init(project="live", name="one", dir=tmp_path) as live:
        live.log({"x": 0.5})
        assert live.flush(60)
        tail = subprocess.Popen(
            [sys.executable, "-m", "steno", "tail", str(live.dir), "--json"], stdout=subprocess.PIPE, text=True
        )
        with tail:
            line = ""
            while '"x": 0.5' not in line:
                line = tail.stdout.readline()
                assert line, "tail ended early"
            live.log({"x": 0.75})
            while '"x": 0.75' not in line:
                line = tail.stdout.readline()
                assert line, "tail ended early"
            live.finish()
            tail.stdout.read()
            assert tail.wait(60) == 0


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_export_to_a_file(run, tmp_path, form):
    target = tmp_path / f"copy.{form}"
    status, out, _ = run("export", "first", "--to", form, "--out", target)
    assert status == 0
    assert "153 points" in out
    before = target.read_bytes()
    assert before
    status, _, err = run("export", "first", "--to", form, "--out", target)
    assert status == 2
    assert "--force" in err
    assert target.read_bytes() == before
    assert parsed(run("export", "first", "--to", form, "--out", target, "--force", "--json")[1]) == {
        "path": str(target),
        "points": 153,
    }


def test_export_to_tensorboard_is_read_by_tensorboard(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    target = tmp_path / "events"
    assert run("export", "first", "--to", "tensorboard", "--out", target)[0] == 0
    accumulator = EventAccumulator(str(target), size_guidance={"scalars": 0})
    accumulator.Reload()
    events = accumulator.Scalars("train/loss")
    assert [event.step for event in events] == list(range(50))
    assert [event.value for event in events] == [float(np.float32(math.exp(-step / 9))) for step in range(50)]
    status, _, err = run("export", "first", "--to", "tensorboard", "--out", target)
    assert status == 2
    assert "not empty" in err


def test_sync_posts_what_nobody_posted_and_adds_a_destination(run, tmp_path):
    with steno.init(project="late", name="one", dir=tmp_path, collector=False) as late:
        for step in range(20):
            late.log({"x": step / 7}, step=step)
    doctor = parsed(run("doctor", late.dir, "--json")[1])
    assert doctor["unposted_bytes"] > 20 * 9
    assert any("steno sync" in line for line in doctor["advice"])
    status, out, _ = run("sync", late.dir, "--to", "tensorboard")
    assert status == 0
    assert "tensorboard is complete" in out
    assert list((late.dir / "tensorboard").iterdir())
    with steno.open(late.dir) as book:
        assert book.series("x").value.tolist() == [step / 7 for step in range(20)]
    doctor = parsed(run("doctor", late.dir, "--json")[1])
    assert doctor["unposted_bytes"] == 0
    assert doctor["advice"] == []


def test_doctor_of_a_run(run):
    status, out, _ = run("doctor", "first")
    assert status == 0
    assert "all is well" in out
    assert "numpy" in out
    assert "file system" in out


def test_doctor_of_the_machine(run):
    status, out, _ = run("doctor")
    assert status == 0
    assert "shared memory" in out
    found = parsed(run("doctor", "--json")[1])
    assert found["versions"]["steno"] == steno.__version__
    assert all(one["free_bytes"] >= 0 for one in found["filesystems"])


def test_sql_over_all_runs(run):
    status, out, _ = run("sql", "select run, count(*) as n from metrics group by run order by run")
    assert status == 0
    assert "153" in out
    rows = [
        parsed(row)
        for row in run(
            "sql",
            "select run, max(value) as best from metrics where key='train/loss' group by run order by run",
            "--json",
        )[1].splitlines()
    ]
    assert rows == [{"run": "digits/first", "best": 1.0}, {"run": "digits/second", "best": 1.0}]


def test_sql_over_one_run_with_times(run):
    rows = run("sql", "select time, value from metrics", "--run", "digits/second", "--json")[1].splitlines()
    assert len(rows) == 1
    assert parsed(rows[0])["time"].endswith("Z")
    assert parsed(rows[0])["value"] == 1.0


def test_wrong_sql_is_one_line(run):
    status, _, err = run("sql", "selekt 1")
    assert status == 2
    assert err.count("\n") == 1
    status, _, err = run("sql", "select * from points")
    assert status == 2
    assert err.count("\n") == 1
    assert err.endswith("The tables are metrics, metrics_all, records, runs, config\n")


def test_a_reader_that_leaves_is_no_traceback(place):
    """`steno show RUN | head -1` ends quietly."""
    done = subprocess.run(
        f"{sys.executable} -m steno show {place}/digits/first | head -1",
        shell=True,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "digits/first" in done.stdout
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_text_of_megabytes_is_cut_for_the_terminal_only(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_DIR", str(tmp_path))
    with steno.init(
        project="p", name="long", dir=tmp_path, collector=False, config={"prompt": "y" * 5_000_000}
    ) as logged:
        logged.log({"text": "x" * 5_000_000, "k" * 10_000: 1.0})
    steno.sync(logged.dir)
    for arguments in (["show", "p/long"], ["sql", "select key, text from metrics"]):
        status, out, _ = run(*arguments)
        assert status == 0
        assert "(5,000,000 characters)" in " ".join(out.split())
        assert len(out) < 100_000
    _, out, _ = run("sql", "--json", "select text from metrics where text is not null")
    assert parsed(out)["text"] == "x" * 5_000_000
