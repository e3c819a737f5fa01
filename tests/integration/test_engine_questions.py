"""The three questions of docs/engines.md, asked of each engine as the page has them, against steno's own readers."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import steno
from steno.publish.iceberg import publish
from steno.store.stock import stock_of

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
BLOCKS = dict(re.findall(r"^### ([^\n]+)\n\n<!-- not run[^\n]*\n```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
NEEDS = {"DuckDB": "duckdb", "polars": "polars", "Daft": "daft", "Spark's protocol": "pysail", "ClickHouse": "chdb"}
TELL = """
import json, pyarrow
def plain(rows):
    if isinstance(rows, pyarrow.Table):
        rows = zip(*(column.to_pylist() for column in rows.columns))
    if isinstance(rows, str | bytes):
        rows = json.loads(rows)["data"]
    return [[one if isinstance(one, str) and not one.lstrip("-").replace(".", "").isdigit() else float(one) for one in row] for row in rows]
print("\\n" + json.dumps([plain(series), plain(best), plain(mean)]))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    place = tmp_path_factory.mktemp("published")
    ids = []
    for number in range(3):
        with steno.init(project="p", name=f"r{number}", dir=place / "runs", destinations=[]) as run:
            for step in range(1000):
                run.log({"loss": (number + 1) / (step + 1), "other": 1.0}, step=step)
            assert run.finish(60)
            ids.append(run.id)
        steno.sync(run.dir)
    uri = f"sqlite:///{place}/catalog.db"
    publish(stock_of(place / "runs"), uri)
    return place, uri, ids


def test_the_page_has_a_block_for_each_engine():
    assert set(BLOCKS) == set(NEEDS)


@pytest.mark.parametrize("engine", sorted(NEEDS))
def test_an_engine_answers_as_steno_does(engine, published):
    if importlib.util.find_spec(NEEDS[engine]) is None:
        pytest.skip(f"{NEEDS[engine]} is not installed: scripts/test-integrations engines")
    place, uri, ids = published
    program = f"uri, root, run = {uri!r}, {f'file://{place}/runs'!r}, {ids[1]!r}\n{BLOCKS[engine]}\n{TELL}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    series, best, mean = json.loads(done.stdout.strip().splitlines()[-1])
    found = steno.open(place / "runs" / "p" / "r1").series("loss")
    assert series == [list(pair) for pair in zip(map(float, found.step.tolist()), found.value.tolist(), strict=True)]
    wanted = []
    for number, one in enumerate(ids):
        last = steno.open(place / "runs" / "p" / f"r{number}").summary["loss"]
        wanted.append([one, last["last"], last["max"]])
    assert sorted(best) == sorted(wanted)
    rows = steno.sql(
        "select step // 100, avg(value) from metrics where key = 'loss' group by 1 order by 1", place / "runs"
    )
    for row, (at, value) in zip(mean, rows.fetchall(), strict=True):
        assert row == pytest.approx([at, value], rel=1e-12)
