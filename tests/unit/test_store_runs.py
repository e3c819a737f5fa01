"""Finding runs, and reading ones that are not whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from store_runs import Writer, listing

from steno.errors import CorruptError, RunNotFoundError, UsageError
from steno.store.listing import runs
from steno.store.query import sql
from steno.store.reader import RunReader, open_run
from steno.store.runs import find


def make(place, project, name, count=3, **run):
    with Writer(place / project / name, project=project, name=name, **run) as writer:
        writer.log(*[(step, {"x": float(step)}) for step in range(count)])
        writer.poster.end_stream("host-0-0-1", "finished")
        writer.finish()
    return place / project / name


def test_runs_are_listed_newest_first(tmp_path):
    make(tmp_path, "digits", "one", 5, tags=["t"], group="g")
    make(tmp_path, "digits", "two")
    (tmp_path / "digits" / "not-a-run").mkdir()
    (tmp_path / "stray.txt").write_text("x")
    early = tmp_path / "deep" / "er" / "three"
    early.mkdir(parents=True)
    (early / "run.json").write_text(json.dumps({"project": "deep", "name": "er/three", "created": 2e9}))
    found = runs(tmp_path)
    assert [f"{one.project}/{one.name}" for one in found] == ["deep/er/three", "digits/one", "digits/two"]
    first = found[1]
    assert (first.state, first.records, first.points, first.tags, first.group) == ("finished", 5, 5, ("t",), "g")
    assert found[0].state == ""
    assert runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_path_by_project_and_by_its_own_name(tmp_path, monkeypatch):
    one, two = make(tmp_path, "digits", "one"), make(tmp_path, "letters", "one")
    other = make(tmp_path, "letters", "other")
    assert find(one) == find("digits/one", tmp_path) == one
    assert find("other", tmp_path) == other
    with pytest.raises(UsageError, match="digits/one, letters/one"):
        find("one", tmp_path)
    monkeypatch.setenv("STENO_DIR", str(tmp_path))
    assert find("letters/one") == two
    monkeypatch.chdir(tmp_path / "letters")
    assert os.path.samefile(find("one"), two)


def test_a_run_that_is_not_there_is_said_with_the_nearest(tmp_path):
    make(tmp_path, "digits", "happy-curie")
    with pytest.raises(RunNotFoundError, match="did you mean digits/happy-curie"):
        open_run("hapy-curie", dir=tmp_path)
    with pytest.raises(RunNotFoundError, match="steno runs"):
        open_run("zzzzzzzz", dir=tmp_path)
    with pytest.raises(RunNotFoundError, match="is a directory and not a run"):
        open_run(tmp_path)
    with pytest.raises(RunNotFoundError, match="there are no runs under"):
        open_run("x", dir=tmp_path / "nowhere")
    with pytest.raises(RunNotFoundError, match="no run was named"):
        open_run("", dir=tmp_path)
    with pytest.raises(RunNotFoundError):
        open_run("../" + tmp_path.name + "/digits/happy-curie", dir=tmp_path)


@pytest.mark.parametrize("name", ["we[i]rd*x?", "a'b\"c", "ü {0} %s", "new\nline", "#?mode=rw&x", " "])
def test_any_directory_name_can_be_read(tmp_path, name):
    path = make(tmp_path, "p", name)
    # What a pattern would match as well must not be read with it.
    shutil.copytree(path, tmp_path / "p" / "weirdAxB")
    with RunReader(path) as book:
        assert len(book.series("x")) == 3
        assert book.sql("select run, count(*) from metrics group by 1").fetchall() == [(f"p/{name}", 3)]
        assert book.keys() == ["x"]


def test_nodes_are_united(tmp_path):
    run_dir = tmp_path / "p" / "wide"
    with Writer(run_dir, node=0) as zero, Writer(run_dir, node=1) as one, RunReader(run_dir) as book:
        for turn in range(4):
            zero.log(*[(step, {"x": 0.0}) for step in range(turn * 5, turn * 5 + 5)], rank=0, entries=[("event", {})])
            one.log(*[(step, {"x": 1.0}) for step in range(turn * 5, turn * 5 + 5)], rank=1, entries=[("event", {})])
            (zero if turn % 2 else one).seal()
            series = book.series("x")
            assert len(series) == 10 * (turn + 1)
            assert series.node[series.rank == 1].tolist() == [1] * 5 * (turn + 1)
            assert len(book.records("event")) == 2 * (turn + 1)
        assert book.info.ranks == (0, 1)


def test_parts_are_enough(tmp_path):
    path = make(tmp_path, "p", "whole", 50)
    copy = tmp_path / "copied" / "p" / "whole"
    copy.mkdir(parents=True)
    shutil.copytree(path / "metrics", copy / "metrics")
    with RunReader(copy) as book:
        assert book.keys() == ["x"]
        assert len(book.series("x")) == 50
    part = next((path / "metrics").glob("*.parquet"))
    row = {"node": 0, "id": 1, "kind": "metrics", "name": f"metrics/{part.name}", "first_batch": 1, "last_batch": 1}
    more = {"first": 1, "last": 50, "rows": 50, "bytes": part.stat().st_size}
    manifest = {"parts": [{**row, **more}], "config": {"lr": 1}, "summary": {"best": 2}, "state": "finished"}
    manifest["attempts"] = [{"attempt": 1}, {"attempt": 2, "rewind": 40}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    before = listing(copy)
    with open_run("whole", dir=tmp_path / "copied") as book:
        assert len(book.series("x")) == 40
        assert len(book.series("x", attempt="all")) == 50
        info = book.info
        assert (info.state, info.config, info.summary["best"], book.summary["x"]["count"]) == (
            "finished",
            {"lr": 1},
            2,
            40,
        )
        assert [one.points for one in runs(tmp_path / "copied")] == [50]
        assert len(list(book.tail(follow=False, last=5))) == 5
    assert listing(copy) == before


def test_a_copy_without_machinery_still_knows_what_was_rewound(tmp_path):
    run_dir = tmp_path / "p" / "wound"
    with Writer(run_dir) as writer:
        writer.attempt(1)
        writer.log(*[(step, {"x": 1.0}) for step in range(10)], entries=[("start", {"pid": 1})])
        writer.attempt(2, rewind=4)
        writer.log((4, {"x": 2.0}), attempt=2, entries=[("start", {"pid": 2, "rewind": 4}), ("start", {"pid": 3})])
        with RunReader(run_dir) as book:
            assert book.series("x").value.tolist() == [1.0] * 4 + [2.0]
        writer.finish()
    shutil.rmtree(run_dir / ".steno")
    before = listing(run_dir)
    with RunReader(run_dir) as book:
        assert book.series("x").value.tolist() == [1.0] * 4 + [2.0]
        assert [(one.attempt, one.rewind) for one in book.info.attempts] == [(1, None), (2, 4)]
    (run_dir / "manifest.json").write_text('{"attempts": [1, 2]}')
    assert listing(run_dir).keys() - before.keys() == {"manifest.json"}


def test_a_part_that_is_listed_and_gone_is_said(tmp_path):
    path = make(tmp_path, "p", "gone")
    part = next((path / "metrics").glob("*.parquet"))
    part.unlink()
    with RunReader(path) as book, pytest.raises(CorruptError, match=f"{part.name} is listed and not there"):
        book.series("x")


@pytest.mark.parametrize("harm", ["footer", "pages", "cut"])
def test_a_damaged_part_is_left_out_and_said_and_the_rest_is_read(tmp_path, harm):
    run_dir = tmp_path / "p" / "hurt"
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for first in (0, 5000):
            writer.log(*[(step, {"x": step * 0.7, "y": 1.0}) for step in range(first, first + 5000)])
            writer.seal()
        writer.log(*[(step, {"x": 0.0}) for step in range(10_000, 10_003)])
        hurt = min((run_dir / "metrics").glob("*.parquet"))
        data = bytearray(hurt.read_bytes())
        if harm == "cut":
            del data[len(data) // 2 :]
        elif harm == "footer":
            data[-200:] = bytes(200)
        else:
            data[4:2000] = bytes(1996)
        hurt.write_bytes(data)
        with pytest.warns(RuntimeWarning, match="damaged and left out"):
            series = book.series("x")
        assert series.step.tolist() == list(range(5000, 10_003))
        assert len(book.series("x")) == 5003
        assert book.summary["x"]["count"] == 5003
        assert book.sql("select count(*) from metrics where key = 'x'").fetchall() == [(5003,)]
        assert book.export("csv", tmp_path / "out.csv") == 5003 + 5000
        assert list(book.info.unreadable) == [str(hurt)]


def test_a_query_over_many_runs_says_which_run(tmp_path):
    for name in ("one", "two", "three"):
        make(tmp_path, "p", name, {"one": 1, "two": 2, "three": 3}[name])
    counts = "select run, count(*) from metrics group by run order by run"
    everything = [("p/one", 1), ("p/three", 3), ("p/two", 2)]
    assert sql(counts, tmp_path).fetchall() == sql(counts, dir=tmp_path).fetchall() == everything
    assert sql(counts, ["one", tmp_path / "p" / "two"], dir=tmp_path).fetchall() == [("p/one", 1), ("p/two", 2)]
    assert sql("select max(value) from metrics where run = ?", tmp_path, values=["p/three"]).fetchall() == [(2.0,)]
    with pytest.raises(RunNotFoundError):
        sql(counts, ["one", "four"], dir=tmp_path)
    with pytest.raises(RunNotFoundError, match="there are no runs"):
        sql(counts, dir=tmp_path / "nowhere")


def test_a_query_over_runs_leaves_out_what_each_ones_rewinds_hide(tmp_path):
    with Writer(tmp_path / "p" / "[a]*", project="p") as one, Writer(tmp_path / "p" / "it's", project="p") as two:
        for writer, rewind in ((one, 3), (two, 5)):
            writer.log(*[(step, {"x": 0.0}) for step in range(10)], entries=[("event", {})])
            writer.seal()
            writer.attempt(2, rewind=rewind)
            writer.log((rewind, {"x": 1.0}), attempt=2, entries=[("event", {})])
        make(tmp_path, "p", "plain", 4)
        counts = "select run, count(*), max(step) from metrics group by run order by run"
        assert sql(counts, tmp_path).fetchall() == [("p/[a]*", 4, 3), ("p/it's", 6, 5), ("p/plain", 4, 3)]
        counts = "select (select count(*) from metrics_all), (select count(*) from records where kind = 'event')"
        assert sql(counts, tmp_path).fetchall() == [(26, 4)]


def test_a_wrong_query_is_said_with_duckdbs_words(tmp_path):
    path = make(tmp_path, "p", "run")
    with RunReader(path) as book:
        for query in ("selec 1", "select nope from metrics", "select * from nothing"):
            with pytest.raises(UsageError, match="the query failed"):
                book.sql(query)
        with pytest.raises(UsageError, match="gives no rows"):
            book.sql("")
        assert book.sql("select count(*) from records").fetchall() == [(0,)]


def test_a_forked_child_reads_on_its_own(tmp_path):
    path = make(tmp_path, "p", "run", 7)
    code = (
        "import os, sys, warnings; warnings.simplefilter('ignore'); from steno.store.reader import RunReader; "
        "book = RunReader(sys.argv[1]); assert len(book.series('x')) == 7; child = os.fork()\n"
        "if not child: os._exit(0 if len(book.series('x')) == 7 and book.summary['x']['count'] == 7 else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False).returncode == 0
