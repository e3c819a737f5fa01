"""A run of format 1 is read as it was written, and nobody writes into it."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import run_programs
from store_runs import listing

import steno
from steno.ledger.read import Reader

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1.tar.xz"
"""`ended` has finished; `torn` is of two nodes, has records that are in no part, and no manifest."""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    run_programs.no_launcher(monkeypatch)
    with tarfile.open(GOLDEN) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / "old"


def test_an_ended_run_is_read_whole(runs):
    before = listing(runs)
    with steno.open(runs / "ended") as book:
        assert book.info.state == "finished"
        assert book.info.unreadable == {}
        assert book.keys() == ["big", "huge", "loss", "odd", "text"]
        assert book.info.config == {"lr": 0.5}
        assert book.series("loss").value.tolist() == [1.0 / (step + 1) for step in range(300)]
        assert book.series("big").exact.tolist() == [2**63 - 1 - step for step in range(300)]
        assert book.series("huge").exact.tolist() == [10**30 + step for step in range(300)]
        assert book.series("text").text.tolist() == [f"t{step % 3}" for step in range(300)]
        odd = book.series("odd").value
        assert str(odd[:4].tolist()) == "[nan, inf, -inf, -0.0]"
        times = book.series("loss").time.astype("int64")
        assert 1_796_053_218_000_000_000 < times[0] < times[-1] < 1_796_053_219_000_000_000
        assert not (times % 1000).any()
        summary = book.summary["loss"]
        assert [summary[name] for name in ("last", "min", "max", "count")] == [1 / 300, 1 / 300, 1.0, 300]
        assert book.info.summary["best"] == 0.25
        assert [entry.kind for entry in book.records()] == ["start", "summary", "finish"]
        assert sum(len(batch) for batch in book.batches()) == 300
        assert len(book.frame(["loss", "text"], as_="arrow")) == 300
        assert len(book.verify()) == 0
    rows = steno.sql("select run, node, count(*), max(record) from metrics group by all", [runs / "ended"]).fetchall()
    assert rows == [("old/ended", 0, 1500, 301)]
    assert listing(runs) == before


def test_a_run_of_two_nodes_with_unsealed_records_is_read_whole(runs):
    with steno.open(runs / "torn") as book:
        assert book.keys() == ["a", "s"]
        series = book.series("a")
        assert len(series) == 120
        for node in range(2):
            mine = series.node == node
            assert series.rank[mine].tolist() == [node] * 60
            sealed, unsealed = [step + node * 0.5 for step in range(50)], [50.0 + step for step in range(10)]
            assert series.value[mine].tolist() == sealed + unsealed
            assert len(set(series.record[mine].tolist())) == 60
            assert series.record[mine].max() < 100
        assert [(one.node, one.record, one.payload["n"]) for one in book.records("note")] == [
            (0, 51, 0),
            (0, 62, 10),
            (1, 51, 1),
            (1, 62, 11),
        ]
        pairs = steno.sql("select node, record from metrics", [runs / "torn"]).fetchall()
        assert len(set(pairs)) == 120
    reader = Reader(runs / "torn")
    for node in range(2):
        assert {batch.node for id in (1, 2) if (batch := reader.batch(node, id))} == {node}
        assert reader.batch(node, 2).record.max() < 100


def test_nobody_goes_on_with_it(runs):
    before = listing(runs)
    with pytest.raises(steno.UsageError, match="format 1"):
        steno.init(project="old", name="ended", dir=runs.parent, resume=True)
    assert listing(runs) == before


@pytest.mark.parametrize("command", [("show",), ("sql", "select count(*) from metrics", "--run"), ("doctor",)])
def test_a_run_of_a_later_format_is_one_clear_error(runs, command):
    path = runs / "ended" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3}))
    with pytest.raises(steno.StenoError, match="format 3"):
        steno.open(runs / "ended")
    done = subprocess.run(
        [sys.executable, "-m", "steno", *command, str(runs / "ended")],
        check=False, capture_output=True, text=True, timeout=60, env=run_programs.environment(),
    )  # fmt: skip
    said = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode != 0
    assert len(said) == 1, said
    assert "format 3" in said[0]
