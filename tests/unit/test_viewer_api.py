"""What the viewer answers: the same as the library says, for any input, and nothing that was not asked."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
import viewer_server
from steno import machinery

N = 4000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    for number in range(3):
        with steno.init(
            project="p", name=f"r{number}", dir=str(place), config={"lr": 10.0**-number, "big": 2**60}, tags=["a"]
        ) as run:
            rng = np.random.default_rng(number)
            for step in range(N):
                value = float(rng.normal())
                if step % 1000 == 7:
                    value = math.nan
                if step % 1000 == 9:
                    value = math.inf
                run.log(
                    {"train/loss": value, "few": float(step)} if step % 100 == 0 else {"train/loss": value}, step=step
                )
            run.log({"note": "<b>text</b>"}, step=N)
            assert run.finish(30)
        deadline = time.monotonic() + 60
        while not machinery.is_retired(place / "p" / f"r{number}"):  # a copy of it would meet files that go
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return place


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place) as asker:
        yield asker


def test_the_table_says_what_the_library_says(asker, place):
    said = asker.ask("/api/runs?columns=config.lr&columns=few.max&columns=config.big&columns=none&sort=-config.lr").json
    assert [row["run"] for row in said["rows"]] == ["p/r0", "p/r1", "p/r2"]
    assert [row["values"] for row in said["rows"]] == [
        [10.0**-number, 3900.0, {"$": str(2**60)}, None] for number in range(3)
    ]
    assert (said["all"], said["total"], said["columns"]) == (3, 3, ["config.lr", "few.max", "config.big", "none"])
    some = asker.post("/api/runs", {"where": "config.lr < 0.5", "offset": 1, "limit": 1, "sort": "name"}).json
    assert ([row["run"] for row in some["rows"]], some["total"], some["all"]) == (["p/r2"], 2, 3)
    assert all(row["state"] == "finished" for row in said["rows"])


def test_a_where_that_cannot_be_understood_says_where(asker):
    answer = asker.ask("/api/runs?where=config.lr+%3C%3C+1")
    assert answer.status == 400
    assert "character" in answer.json["error"]
    assert isinstance(answer.json["at"], int)


def test_keys_and_columns(asker):
    said = asker.post("/api/keys", {"runs": ["p/r0", "p/r1", "none/such"]}).json
    assert said["keys"] == ["few", "note", "train/loss"]
    assert said["sections"] == ["", "", "train"]
    assert said["kinds"] == ["number", "text", "number"]
    assert said["runs"] == [2, 2, 2]
    assert said["points"] == [80, 2, 2 * N]
    assert [one["run"] for one in said["problems"]] == ["none/such"]
    assert asker.ask("/api/columns?match=LR").json == {"config": ["lr"], "summary": [], "metrics": [], "left_out": 0}


def exact(place, run, key):
    with steno.open(place / run) as reader:
        return reader.series(key)


@pytest.mark.parametrize("span", [None, [0, 3999], [1000, 3000], [6, 10]])
def test_bins_hold_the_exact_extremes(asker, place, span):
    card = asker.card(keys=["train/loss"], runs=["p/r1"], width=50, range=span)
    series = exact(place, "p/r1", "train/loss")
    low, high = span or (0, N)
    inside = (series.step >= low) & (series.step <= high)
    (one,) = card["series"]
    assert one["points"] == card["points"] == int(inside.sum())
    if one["kind"] == "points":
        assert int(inside.sum()) <= 100
        np.testing.assert_array_equal(one["columns"]["x"], series.step[inside])
        np.testing.assert_allclose(one["columns"]["y"], series.value[inside], rtol=1e-6)
        return
    width = card["bin"]
    assert math.log2(width).is_integer()
    columns = one["columns"]
    for row in range(one["rows"]):
        edge = columns["bin"][row]
        chosen = inside & (series.step >= edge) & (series.step < edge + width)
        value, step = series.value[chosen], series.step[chosen]
        finite = np.isfinite(value)
        assert columns["count"][row] == len(value)
        assert columns["nan"][row] == np.isnan(value).sum()
        assert columns["pinf"][row] == np.isposinf(value).sum()
        for name, of in (("min", np.argmin), ("max", np.argmax)):
            at = of(value[finite])
            np.testing.assert_allclose(columns[name][row], value[finite][at], rtol=1e-6)
            assert columns[f"{name}_x"][row] == step[finite][at]
    assert columns["count"].sum() == inside.sum()


@pytest.mark.parametrize(
    ("span", "whole"),
    [
        ([1000, 3000], [960, 3007]),
        ([12, 30], [12, 30]),
        ([12.5, 30.5], [12, 30]),
        ([-5, 4], [-5, 4]),
        ([64, 127], [64, 127]),
    ],
)
def test_the_line_goes_on_beyond_a_zoom_to_its_neighbours(asker, place, span, whole):
    asked = {"keys": ["train/loss"], "runs": ["p/r2"], "width": 50, "smooth": {"kind": "ema", "width": 30}}
    (plain,) = asker.card(**asked, range=whole)["series"]
    (one,) = asker.card(**asked, range=span, edges=True)["series"]
    series = exact(place, "p/r2", "train/loss")
    before, after = int(span[0] > 0), 1
    assert (one["kind"], one["beyond"], plain["beyond"]) == (plain["kind"], [before, after], [0, 0])
    assert (one["points"], one["rows"]) == (plain["points"], plain["rows"] + before + after)
    rows = slice(before, one["rows"] - after)
    for name, column in plain["columns"].items():
        np.testing.assert_array_equal(one["columns"][name][rows], column)
    ends = [(0, whole[0] - 1)] * before + [(one["rows"] - 1, whole[1] + 1)]
    for row, step in ends:
        names = [("x", "y")] if one["kind"] == "points" else [(f"{of}_x", of) for of in ("first", "last", "min", "max")]
        for x, y in names:
            assert one["columns"][x][row] == step
            np.testing.assert_allclose(one["columns"][y][row], series.value[step], rtol=1e-6)
        assert math.isfinite(one["columns"]["smooth"][row])
        assert one["columns"].get("nan", np.zeros(one["rows"]))[row] == 0


def test_a_line_goes_to_no_neighbour_that_is_no_number(asker):
    (one,) = asker.card(keys=["train/loss"], runs=["p/r2"], range=[8, 100], edges=True)["series"]
    assert one["beyond"] == [0, 1]  # step 7 is NaN
    (one,) = asker.card(keys=["few"], runs=["p/r2"], range=[110, 120], edges=True)["series"]
    assert (one["points"], one["beyond"], one["columns"]["x"].tolist()) == (0, [1, 1], [100, 200])
    assert asker.card(keys=["few"], runs=["p/r2"], range=[110, 120])["series"] == []


def test_a_bad_card_costs_no_other(asker):
    cards = [
        {"id": "a", "keys": ["few"]}, {"id": "b", "keys": []}, {"id": "c", "keys": ["few"], "width": 0},
        {"id": "d", "keys": ["few"], "x": 3}, {"id": "e", "keys": ["few"], "range": [5, 1]}, {"id": "f", "keys": ["few"]},
    ]  # fmt: skip
    found = asker.post("/api/chart", {"runs": ["p/r0", "gone"], "cards": cards}).cards()
    assert [one["id"] for one in found] == list("abcdef")
    assert ["error" in one for one in found] == [False, True, True, True, True, False]
    assert [one["run"] for one in found[0]["problems"]] == ["gone"]
    np.testing.assert_array_equal(found[0]["series"][0]["columns"]["y"], np.arange(0, N, 100))


def test_groups_are_means_over_their_runs(asker, place):
    card = asker.card(keys=["few"], runs=["p/r0", "p/r1", "p/r2"], group=["config.lr"], width=10)
    assert [one["group"] for one in card["series"]] == [[1.0], [0.1], [0.01]]
    assert [one["runs"] for one in card["series"]] == [["p/r0"], ["p/r1"], ["p/r2"]]
    (one,) = asker.card(keys=["train/loss"], runs=["p/r0", "p/r1", "p/r2"], group=[], width=10)["series"]
    assert (one["kind"], one["size"], one["group"]) == ("group", 3, [])
    width = one["columns"]["bin"][1] - one["columns"]["bin"][0]
    means = []
    for number in range(3):
        series = exact(place, f"p/r{number}", "train/loss")
        means.append(series.value[np.isfinite(series.value) & (series.step < width)].mean())
    np.testing.assert_allclose(one["columns"]["mean"][0], np.mean(means), rtol=1e-6)
    np.testing.assert_allclose(one["columns"]["std"][0], np.std(means, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("width", [10, 5000])
def test_a_smoothed_line_stands_beside_the_raw_one(asker, width):
    (one,) = asker.card(keys=["train/loss"], runs=["p/r0"], smooth={"kind": "ema", "width": 100}, width=width)["series"]
    assert one["smoothed"] == "points"
    smooth = one["columns"]["smooth"]
    assert len(smooth) == one["rows"]
    assert np.nanstd(smooth[len(smooth) // 2 :]) < 0.3


RANK = """
import steno
run = steno.init(project="p", name="r", dir={place!r})
for step in range(50):
    run.log({{"x": step + 100.0 * (run.rank == 2)}}, step=step)
assert run.finish(60)
"""


def test_ranks_as_a_band_and_the_odd_one(tmp_path):
    job = {**os.environ, "WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "job"}
    code = RANK.format(place=str(tmp_path))
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env={**job, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(3)
    ]
    assert [rank.wait(90) for rank in ranks] == [0, 0, 0]
    with viewer_server.serving(tmp_path) as asker:
        (run,) = [row["run"] for row in asker.ask("/api/runs").json["rows"]]
        assert len(asker.card(keys=["x"], runs=[run], ranks="all")["series"]) == 3
        (one,) = asker.card(keys=["x"], runs=[run], ranks="odd")["series"]
        assert one["rank"] == 2
        (one,) = asker.card(keys=["x"], runs=[run], ranks="band")["series"]
        assert set(one["columns"]["n"].tolist()) == {3}
        assert (one["columns"]["min"][0], one["columns"]["max"][0]) == (0, 100)


def test_over_another_key(asker):
    (one,) = asker.card(keys=["train/loss"], runs=["p/r0"], x={"key": "few"})["series"]
    assert one["kind"] == "points"
    assert one["columns"]["x"][:101].tolist() == [0.0] * 100 + [100.0]


def test_csv_is_exact(asker, place):
    body = asker.ask("/api/series?run=p%2Fr0&key=train%2Floss&from=0&to=100").body.decode().splitlines()
    series = exact(place, "p/r0", "train/loss")
    assert body[0] == "run,key,rank,step,time,value"
    values = [float(line.rpartition(",")[2]) for line in body[1:]]
    np.testing.assert_array_equal(values, series.value[series.step <= 100])


def test_arrow_and_csv_of_a_card_are_exact(asker, place):
    import pyarrow as pa

    card = {"runs": ["p/r0"], "cards": [{"id": "a", "keys": ["few"]}]}
    answer = asker.post("/api/chart", card, Accept="application/vnd.apache.arrow.stream")
    with pa.ipc.open_stream(answer.body) as stream:
        table = stream.read_all()
    assert table.num_rows == 40
    assert asker.post("/api/chart", card, Accept="text/csv").body.count(b"\n") == 41


def test_more_lines_than_a_card_shows_are_a_band_over_all(asker, place):
    card = asker.card(keys=["train/loss"], runs=["p/r0", "p/r1", "p/r2"], width=16, limit=1)
    band, *lines = card["series"]
    assert band["kind"] == "band"
    assert len(lines) == 1
    assert card["lines"] == 3
    assert card["left_out"]["lines"] == 2
    assert "3 lines" in card["left_out"]["why"]
    assert set(band["columns"]["n"].tolist()) == {3}
    every = [exact(place, f"p/r{number}", "train/loss") for number in range(3)]
    low = [one.value[np.isfinite(one.value) & (one.step < card["bin"])].min() for one in every]
    np.testing.assert_allclose(band["columns"]["min"][0], min(low), rtol=1e-6)


def test_each_resource_is_documented(place):
    page = (Path(__file__).parents[2] / "docs" / "viewer-api.md").read_text(encoding="utf-8")
    found = {one.path.partition("{")[0].strip("/") for one in application(place).routes} - {"api", "ask.js", ""}
    assert len(found) > 20
    assert [one for one in sorted(found) if f"`{one}" not in page] == []


def application(place):
    from steno.viewer.app import Viewer
    from steno.viewer.security import Rules

    return Viewer(place, "runs", Rules(None, "0" * 8))._application()._plain


STRANGE = viewer_server.strange("p/r0", "few", "step")
NAMES = {
    "/api/runs": ("where", "sort", "columns", "offset", "limit", "archived", "ids"),
    "/api/keys": ("runs", "where", "archived"),
    "/api/chart": ("runs", "cards"),
}


@pytest.mark.parametrize("path", sorted(NAMES))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_posted_is_answered_or_refused(asker, path, data):
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[path], STRANGE)))
    if path == "/api/chart" and data.draw(st.booleans()):
        names = ("id", "runs", "x", "range", "width", "group", "ranks", "smooth", "limit", "edges")
        card = st.fixed_dictionaries({"keys": st.just(["few"])}, optional=dict.fromkeys(names, STRANGE))
        body = {"runs": ["p/r0"], "cards": [data.draw(card)]}
    answer = asker.post(path, body)
    assert answer.status in {200, 400, 404, 413}, (answer.status, answer.body)
    if answer.status != 200:
        assert answer.json["error"]


@pytest.mark.parametrize(
    "path",
    ["config", "health", "artifacts", "records", "output", "series", "news", "columns", "runs", "keys", "server"],
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_in_an_address_is_answered_or_refused(asker, path, data):
    from urllib.parse import urlencode

    names = (
        "run",
        "key",
        "kind",
        "limit",
        "after",
        "match",
        "rank",
        "since",
        "x",
        "from",
        "to",
        "runs",
        "where",
        "sort",
        "last",
        "offset",
        "name",
        "digest",
        "colours",
    )
    given = data.draw(st.dictionaries(st.sampled_from(names), st.text(max_size=12) | st.just("p/r0"), max_size=4))
    answer = asker.ask(f"/api/{path}?{urlencode(given, errors='surrogatepass')}")
    assert answer.status in {200, 400, 404, 413}, (answer.status, answer.body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"cards": [{}]}'])
def test_a_body_that_is_no_object_is_refused(asker, body):
    answer = asker.post("/api/chart", body)
    assert answer.status in {200, 400}
    assert answer.status == 400 or answer.cards()[0]["error"]


def test_a_body_that_is_too_large_is_refused(asker):
    assert asker.post("/api/chart", b" " * (5 << 20)).status == 413


def test_a_damaged_run_is_a_row_and_costs_no_other(place, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(place, copy)
    (copy / "p" / "r1" / "run.json").write_text('{"name": [')
    for part in (copy / "p" / "r1" / "metrics").glob("*.parquet"):
        part.write_bytes(b"PAR1")
    with viewer_server.serving(copy) as asker:
        rows = {row["run"]: row for row in asker.ask("/api/runs?columns=few.max").json["rows"]}
        assert len(rows) == 3
        assert rows["p/r1"]["problem"]
        assert rows["p/r0"]["values"] == [3900.0]
        card = asker.card(keys=["few"], runs=["p/r0", "p/r1", "p/r2"])
        assert {one["run"] for one in card["series"]} >= {"p/r0", "p/r2"}


def test_an_empty_directory_is_an_empty_table(tmp_path):
    with viewer_server.serving(tmp_path / "none") as asker:
        assert asker.ask("/api/runs").json["rows"] == []
        assert asker.post("/api/keys", {"runs": []}).json["keys"] == []


def test_a_query_lists_the_runs_once(place, monkeypatch):
    from steno.viewer import catalogue
    from steno.viewer.runs import Runs
    from steno.viewer.stall import Stall

    listings = []
    plain = catalogue.runs
    monkeypatch.setattr(catalogue, "runs", lambda *args, **options: listings.append(args) or plain(*args, **options))
    shown = catalogue.Catalogue(place)
    said = Runs(shown, Stall(shown)).rows({"where": "config.lr < 0.5", "sort": "-config.lr"})
    assert [row["nth"] for row in said["rows"]] == [1, 2]
    assert len(listings) == 1
