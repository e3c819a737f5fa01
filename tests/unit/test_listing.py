"""Lists of runs: chosen, sorted, as a table and as a frame; an ended run costs two JSON files."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import sys
import time

import pytest

import steno
from steno.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    for number in range(4):
        run = steno.init(
            project="p", name=f"r{number}", dir=where, config={"lr": 10.0**-number, "opt": {"name": "adam"}},
            tags=["even"] if number % 2 == 0 else ["odd"], group="g", notes=f"note {number}",
        )  # fmt: skip
        for step in range(5):
            run.log({"val/acc": number / 10 + step / 100, "loss": 1.0 / (step + 1)}, step)
        run.summary["best"] = number
        assert run.finish(60)
        left(run.dir)
    return where


def left(run_dir, seconds=30):
    """Wait until the collector has left the run: all is in its manifest."""
    deadline = time.monotonic() + seconds
    journal = run_dir / ".steno" / "journal"
    while not (run_dir / "manifest.json").exists() or (journal.exists() and any(journal.iterdir())):
        assert time.monotonic() < deadline, run_dir
        time.sleep(0.02)


def names(found):
    return [one.name for one in found]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("config.lr < 0.05", ["r3", "r2"]),
        ("config.opt.name == 'adam' and 'odd' in tags", ["r3", "r1"]),
        ("config.opt/name == 'adam'", ["r3", "r2", "r1", "r0"]),
        ("val/acc.max >= 0.24", ["r3", "r2"]),
        ("val/acc > 0.2 and loss.count == 5", ["r3", "r2"]),
        ("summary.best == 2", ["r2"]),
        ("state == 'finished' and name in ['r0', 'r9']", ["r0"]),
        ("group == 'g' and project == 'p' and 'note 1' in notes", ["r1"]),
        ("duration < 1000 and started > '2020-01-01' and started < '2100-01-01'", ["r3", "r2", "r1", "r0"]),
        ("nothing.here == 1 or val/loss.max > 0", []),
    ],
)
def test_runs_are_chosen(place, where, wanted):
    assert names(steno.runs(place, where=where)) == wanted


def test_runs_are_sorted_and_cut(place):
    assert names(steno.runs(place)) == ["r3", "r2", "r1", "r0"]
    assert names(steno.runs(place, sort="started")) == ["r0", "r1", "r2", "r3"]
    assert names(steno.runs(place, sort="config.lr")) == ["r3", "r2", "r1", "r0"]
    assert names(steno.runs(place, sort="-val/acc.max", limit=2)) == ["r3", "r2"]
    assert names(steno.runs(place, sort="nothing")) == ["r3", "r2", "r1", "r0"]
    assert names(steno.runs(place, limit=1)) == ["r3"]
    assert steno.runs(place, limit=0) == []


@pytest.mark.parametrize(
    "options",
    [{"where": "config.lr <"}, {"sort": "a and b"}, {"sort": ""}, {"limit": -1}, {"limit": True}, {"where": 3}],
)
def test_what_cannot_be_understood_is_one_clear_error(place, options):
    with pytest.raises(steno.StenoError):
        steno.runs(place, **options)


def test_a_list_prints_as_a_table_and_is_a_frame(place):
    found = steno.runs(place)
    assert [word in repr(found) for word in ("p/r0", "finished", "even", "started")] == [True] * 4
    page = found._repr_html_()
    assert page.count("<tr>") == 5
    frame = found.frame()
    assert frame["name"].tolist() == ["r3", "r2", "r1", "r0"]
    assert frame["config.opt.name"].tolist() == ["adam"] * 4
    assert frame["val/acc.max"].tolist() == [number / 10 + 0.04 for number in (3, 2, 1, 0)]
    assert repr(steno.runs(place, where="false")) == "no runs"


def test_what_a_run_says_is_no_markup(tmp_path):
    run = steno.init(project="p", name="r", dir=tmp_path, tags=["<b>[red]x\x1b[31m"])
    assert run.finish(60)
    found = steno.runs(tmp_path)
    assert "<b>" not in found._repr_html_()
    assert "\x1b" not in repr(found) + found._repr_html_()
    assert "[red]" in repr(found)


def test_an_ended_run_is_listed_without_its_ledger(place, monkeypatch):
    wanted = [(one.name, one.state, one.records, one.points) for one in steno.runs(place)]

    def refuse(*_args, **_more):
        raise AssertionError("a ledger was opened")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert [(one.name, one.state, one.records, one.points) for one in steno.runs(place)] == wanted
    assert wanted[0] == ("r3", "finished", 5, 10)


def test_a_run_that_goes_on_is_not_taken_for_an_ended_one(place):
    run = steno.init(project="p", name="r0", dir=place, resume=True)
    try:
        run.log({"val/acc": 0.01}, 9)
        assert run.flush(30)
        assert {one.name: one.state for one in steno.runs(place)}["r0"] == "running"
    finally:
        assert run.finish(60)
    left(run.dir)
    assert {one.name: one.state for one in steno.runs(place)}["r0"] == "finished"


def test_the_command_line_chooses_sorts_and_shows(place, capsys):
    main_ends = [
        "runs",
        "--dir",
        str(place),
        "--where",
        "config.lr < 0.5",
        "--sort",
        "config.lr",
        "-c",
        "val/acc.max",
        "--json",
    ]
    with pytest.raises(SystemExit):
        main(main_ends)
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == ["r3", "r2", "r1"]
    assert found[0]["val/acc.max"] == pytest.approx(0.34)
    assert dt.datetime.fromisoformat(found[0]["started"]).tzinfo is not None
    with pytest.raises(SystemExit):
        main(main_ends[:-1])
    out = capsys.readouterr().out
    assert "val/acc.max" in out
    assert "0.34" in out
    with pytest.raises(SystemExit) as end:
        main(["runs", "--dir", str(place), "--where", "config.lr ="])
    assert end.value.code == 2
    assert "write '=='" in capsys.readouterr().err


def test_a_frame_without_pandas_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(steno.UsageError, match=r"pip install 'stenolog\[frames\]'"):
        steno.runs(tmp_path).frame()
