"""Histograms as heat maps and tables by pages: every count is there, every number is exact."""

from __future__ import annotations

import datetime as dt
import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
import viewer_server
from steno.viewer.heat import shared_out

BIG = 2**62
N = 1000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("grids")
    with steno.init(project="p", name="r", dir=str(place)) as run:
        rng = np.random.default_rng(0)
        for step in range(0, 300, 3):
            run.log(
                {
                    "wide": steno.Histogram(rng.normal(step / 30, 2, size=500)),
                    "same": steno.Histogram(counts=[step, 1, 2], edges=[0, 1, 2, 4]),
                    "odd": steno.Histogram([math.inf, 1.0, 1.0, -(1.7e308), 1.7e308] if step else [math.nan]),
                },
                step=step,
            )
        table = pa.table(
            {
                "name": [f"c{at % 7}" for at in range(N)],
                "score": pa.array([math.nan if at == 5 else at / 7 for at in range(N)]),
                "big": pa.array([BIG + (at * 37) % N for at in range(N)], pa.int64()),
                "huge": pa.array([2**64 - 1 - at for at in range(N)], pa.uint64()),
                "some": pa.array([None if at % 2 else at for at in range(N)], pa.int32()),
                "when": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(at) for at in range(N)]),
                "nested": pa.array([[at, at + 1] for at in range(N)]),
                "<b>x</b>": pa.array(["y" * 3000 if at == 0 else "<script>" for at in range(N)]),
            }
        )
        run.log({"results": steno.Table(table)}, step=0)
        assert run.finish(120)
    return place


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place) as asker:
        yield asker


def heat(asker, key, **more):
    answer = asker.post("/api/media-heat", {"runs": ["p/r"], "key": key, **more})
    assert answer.status == 200, answer.body
    (card,) = answer.cards()
    return card


@pytest.fixture(scope="module")
def file(asker):
    said = asker.post("/api/media-index", {"runs": ["p/r"], "cards": [{"id": "a", "key": "results"}]}).json
    return said["cards"][0]["items"][0]["file"]


def page(asker, file, **more):
    answer = asker.post("/api/media-table", {"run": "p/r", "file": file, **more})
    assert answer.status == 200, answer.body
    return answer.json


def test_bins_that_are_the_same_are_shown_as_they_were_logged(asker):
    card = heat(asker, "same")
    assert card["as_logged"]
    assert card["edges"] == [0, 1, 2, 4]
    (one,) = card["series"]
    assert (one["points"], one["merged"]) == (100, 1)
    np.testing.assert_array_equal(one["columns"]["count"].reshape(-1, 3)[5], [15, 1, 2])
    assert one["first"] == one["last"] == list(range(0, 300, 3))


def test_columns_that_are_merged_are_sums_and_say_so(asker):
    card = heat(asker, "same", width=30)
    (one,) = card["series"]
    assert one["merged"] == 4
    np.testing.assert_array_equal(one["columns"]["count"].reshape(-1, 3)[1], [12 + 15 + 18 + 21, 4, 8])
    assert (one["first"][1], one["last"][1]) == (12, 21)
    card = heat(asker, "same", **{"from": 30, "to": 60})
    assert card["series"][0]["first"] == list(range(30, 61, 3))


def test_other_bins_are_shared_out_and_no_count_is_lost(asker, place):
    card = heat(asker, "wide", bins=40)
    assert not card["as_logged"]
    (one,) = card["series"]
    grid = one["columns"]["count"].reshape(-1, 40)
    np.testing.assert_allclose(grid.sum(axis=1), 500)
    with steno.open(place / "p" / "r") as reader:
        values = [item.value for item in reader.media("wide")]
    assert card["edges"][0] == min(value["edges"][0] for value in values)
    assert card["edges"][-1] == max(value["edges"][-1] for value in values)


def test_numbers_that_are_far_apart_or_none(asker):
    card = heat(asker, "odd")
    (one,) = card["series"]
    grid = one["columns"]["count"].reshape(one["points"], -1)
    assert one["outside"] == 100
    assert np.isfinite(card["edges"]).all()
    np.testing.assert_allclose(grid[1:].sum(axis=1), 4)


@settings(max_examples=200, deadline=None)
@given(
    edges=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20, unique=True).map(sorted),
    counts=st.lists(st.integers(0, 10**6), min_size=20, max_size=20),
    bins=st.integers(1, 64),
)
def test_sharing_out_keeps_every_count(edges, counts, bins):
    counts = np.array(counts[: len(edges) - 1], float)
    new = np.linspace(edges[0], edges[-1], bins + 1)
    new[-1] = edges[-1]
    made = shared_out((np.array(edges), counts), new)
    assert made.sum() == pytest.approx(counts.sum())
    assert (made >= -1e-6).all()


def test_a_damaged_histogram_costs_its_own_column(tmp_path):
    with steno.init(project="p", name="r", dir=str(tmp_path)) as run:
        for step in range(3):
            run.log({"h": steno.Histogram(np.random.default_rng(step).normal(size=600_000))}, step=step)
        assert run.finish(120)
    with steno.open(run.dir) as reader:
        items = reader.media("h")
    assert items[0].path is not None
    items[0].path.write_text('{"counts": [1], "edges": [3]}')
    items[1].path.write_text('{"counts": [1, 2], "edges": [0, "x", 1e999]}')
    with viewer_server.serving(tmp_path) as asker:
        (one,) = heat(asker, "h")["series"]
        assert (one["points"], one["damaged"], one["first"]) == (1, 2, [2])


def test_pages_of_a_table_are_exact(asker, file):
    found = page(asker, file, offset=3, limit=4)
    assert (found["all"], found["total"], found["offset"], len(found["rows"])) == (N, N, 3, 4)
    assert [column["name"] for column in found["columns"]][:3] == ["name", "score", "big"]
    row = found["rows"][2]
    assert row[:2] == ["c5", {"$": "NaN"}]
    assert row[2] == {"$": str(BIG + 5 * 37)}
    assert row[3] == {"$": str(2**64 - 6)}
    assert row[4:] == [None, "2026-01-06 00:00:00.000000Z", "[5, 6]", "<script>"]
    assert found["rows"][1][1] == 4 / 7
    assert page(asker, file, limit=1)["rows"][0][7].endswith("… (3,000 characters)")


def test_sorting_and_filtering_are_exact(asker, file):
    found = page(asker, file, sort="-2", limit=3)
    assert [row[2] for row in found["rows"]] == [{"$": str(BIG + N - 1 - at)} for at in range(3)]
    assert page(asker, file, sort="1", limit=1)["rows"][0][1] == 0
    assert page(asker, file, sort="-1", offset=N - 1)["rows"][0][1] == {"$": "NaN"}
    assert page(asker, file, sort="6", limit=1)["total"] == N
    assert page(asker, file, filters={"0": "= c3", "1": "< 10"})["total"] == sum(at % 7 == 3 for at in range(70))
    # A float64 holds neither of these numbers.
    assert page(asker, file, filters={"2": f"= {BIG + 1}"})["total"] == 1
    assert page(asker, file, filters={"2": f"> {BIG + 1}"})["total"] == N - 2
    assert page(asker, file, filters={"3": f">= {2**64 - 3}"})["total"] == 3
    assert page(asker, file, filters={"3": "> -1"})["total"] == N
    assert page(asker, file, filters={"4": "!= 0"})["total"] == N - 1
    assert page(asker, file, filters={"5": "2026-01-0"})["total"] == 9
    assert page(asker, file, match="YYYY")["total"] == 1
    assert page(asker, file, match="C3", filters={"1": ">= 100"}, sort="-0")["total"] == sum(
        at % 7 == 3 for at in range(700, N)
    )


def test_what_cannot_be_compared_is_said(asker, file):
    answer = asker.post("/api/media-table", {"run": "p/r", "file": file, "filters": {"1": "< x"}})
    assert (answer.status, "no number" in answer.json["error"]) == (400, True)
    for bad in ("../run.json", "media/aa/../x.parquet", "media/aa/" + "a" * 40 + ".parquet", ""):
        assert asker.post("/api/media-table", {"run": "p/r", "file": bad}).status in {400, 404, 422}


def test_a_damaged_table_and_one_that_says_too_much_are_refused(asker, file, place, tmp_path):
    with steno.init(project="p", name="r", dir=str(tmp_path)) as run:
        for step in range(2):
            run.log({"t": steno.Table({"a": list(range(step, 100))})}, step=step)
        assert run.finish(120)
    with steno.open(run.dir) as reader:
        items = reader.media("t")
    content = items[0].path.read_bytes()
    items[0].path.write_bytes(content[: len(content) // 2])
    (size,) = struct.unpack("<I", items[1].path.read_bytes()[-8:-4])
    assert size
    items[1].path.write_bytes(b"PAR1" + b"\xff" * 100)
    with viewer_server.serving(tmp_path) as other:
        for item in items:
            answer = other.post("/api/media-table", {"run": "p/r", "file": item.ref.file})
            assert answer.status in {400, 422}, answer.body
            assert answer.json["error"]


STRANGE = viewer_server.strange("p/r", "wide", "1")
NAMES = {
    "/api/media-heat": ("runs", "key", "width", "bins", "from", "to"),
    "/api/media-table": ("run", "file", "offset", "limit", "sort", "match", "filters"),
}


@pytest.mark.parametrize("path", sorted(NAMES))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_posted_is_answered_or_refused(asker, file, path, data):
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[path], STRANGE)))
    if data.draw(st.booleans()):
        good = {"runs": ["p/r"], "key": "wide"} if path == "/api/media-heat" else {"run": "p/r", "file": file}
        texts = st.dictionaries(
            st.sampled_from("0123456789"), st.text(max_size=6) | st.sampled_from(["<3", "=x", "!= 1e5"])
        )
        body = {"filters": data.draw(texts), **body, **good}
    answer = asker.post(path, body)
    assert answer.status in {200, 400, 404, 413, 422}, (answer.status, answer.body)
    if answer.status != 200:
        assert answer.json["error"]
