"""docs/viewer-api.md against a viewer that is asked: each field of an answer is named there, each field there is answered."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

import steno
import viewer_server

PAGE = (Path(__file__).parents[2] / "docs/viewer-api.md").read_text()
SECTIONS = dict(
    re.findall(r"^## ([^`\n]+).*?\n(.*?)(?=^## |\Z)", PAGE.replace("## `", "## "), re.MULTILINE | re.DOTALL)
)
FREE = {"config", "summary", "kinds", "classes", "metadata", "value", "notes", "position"}
"""Below these a user's own names stand, or what a process wrote into an entry."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    (place / "model.pt").write_bytes(b"model")
    for number in range(2):
        with steno.init(
            project="digits", name=f"cnn-{number}", dir=str(place / "runs"), config={"lr": 0.1}, capture="both",
            destinations=["csv"],
        ) as run:  # fmt: skip
            rng = np.random.default_rng(number)
            run.log({"refused": {}}, step=0)
            for step in range(3000):
                run.log({"loss": float(rng.normal())}, step=step)
            box = [{"box": (1, 1, 5, 5), "label": "cat", "score": 0.75}]
            masks = {"seg": {"data": np.zeros((8, 8), int), "classes": {1: "sky"}}}
            run.log({"sample": steno.Image(np.zeros((8, 8, 3), np.uint8), "a cat", boxes=box, masks=masks)}, step=5)
            run.log({"weights": steno.Histogram(rng.normal(size=100))}, step=5)
            run.log({"rows": steno.Table([["c3"], ["c4"]], ["class"])}, step=5)
            run.log_artifact(str(place / "model.pt"), "model/best", metadata={"by": "me"})
            print("said")
            assert run.finish(60)
    return place / "runs"


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place, allow_edit=True) as asker:
        yield asker


RUN = "run=digits%2Fcnn-0"
RUNS = {"runs": ["digits/cnn-0", "digits/none"]}


def chart(asker, **card):
    answer = asker.post("/api/chart", {**RUNS, "cards": [{"id": "a", "keys": ["loss"], **card}]})
    assert answer.headers["content-type"] == "application/vnd.steno.chart"
    (size,) = np.frombuffer(answer.body[:4], "<u4")
    return json.loads(answer.body[4 : 4 + size])


ASKED = {
    "api/runs": lambda ask: ask.ask("/api/runs?columns=config.lr&columns=loss.last&limit=1").json,
    "api/columns": lambda ask: ask.ask("/api/columns").json,
    "api/keys": lambda ask: ask.post("/api/keys", RUNS).json,
    "api/records": lambda ask: ask.ask(f"/api/records?{RUN}&kind=output").json,
    "api/config": lambda ask: ask.ask(f"/api/config?{RUN}").json,
    "api/health": lambda ask: ask.ask(f"/api/health?{RUN}").json,
    "api/artifacts": lambda ask: ask.ask(f"/api/artifacts?{RUN}").json,
    "api/media-index": lambda ask: ask.post("/api/media-index", {**RUNS, "cards": [{"id": "a", "key": "sample"}]}).json,
    "api/media-table": lambda ask: ask.post("/api/media-table", {"run": "digits/cnn-0", "file": table(ask)}).json,
    "api/edit": lambda ask: ask.post("/api/edit", {**RUNS, "field": "notes", "value": "seen"}).json,
    "api/views": lambda ask: saved(ask),
    "api/server": lambda ask: ask.ask("/api/server").json,
}


def table(ask):
    return ask.post("/api/media-index", {**RUNS, "cards": [{"id": "a", "key": "rows"}]}).json["cards"][0]["items"][0][
        "file"
    ]


def saved(ask):
    assert ask.post("/api/views/save", {"name": "best", "view": "logY=1", "replace": True}).json == {}
    return ask.ask("/api/views").json


def fields(value, prefix=""):
    """The names of an answer, those in its lists too."""
    if isinstance(value, list):
        return set().union(*(fields(one, prefix) for one in value)) if value else set()
    if not isinstance(value, dict) or set(value) == {"$"}:
        return set()
    return set(value).union(*(fields(one) for name, one in value.items() if name not in FREE)) if value else set()


def told(section):
    """The names that a section writes as code, or in an example."""
    text = SECTIONS[section]
    return set(re.findall(r'"(\w+)"', text)) | set(re.findall(r"`(\w+)`", text))


def examples(section):
    """The answers that stand in a section as JSON."""
    for text in re.findall(r"```json\n(\{.*?)\n```", SECTIONS[section], re.DOTALL):
        try:
            yield json.loads(text.replace(", …]", "]"))
        except ValueError:
            pytest.fail(f"an example of {section} is no JSON: {text[:80]}")


@pytest.mark.parametrize("section", sorted(ASKED))
def test_each_field_of_an_answer_is_documented(asker, section):
    answer = ASKED[section](asker)
    assert fields(answer), answer
    everywhere = told("For all resources") | told("api/config") | {"run"}
    assert fields(answer) - told(section) - everywhere == set()


@pytest.mark.parametrize(
    ("section", "skipped"),
    [("api/runs", set()), ("api/keys", set()), ("api/media-index", {"first"}), ("api/media-table", set()), ("api/edit", set())],
)  # fmt: skip
def test_each_field_of_an_example_is_answered(asker, section, skipped):
    """What is skipped is there in other cases alone."""
    example = [*examples(section)][-1]
    assert fields(example) - fields(ASKED[section](asker)) - skipped == set()


KINDS = {
    "points": {"ranks": None, "range": [0, 50]},
    "bins": {"width": 100, "smooth": {"kind": "ema", "width": 9}},
    "group": {"width": 100, "group": []},
    "band": {"width": 100, "limit": 1, "runs": ["digits/cnn-0", "digits/cnn-1"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_column_of_a_chart_has_a_documented_name_and_type(asker, kind):
    head = chart(asker, **KINDS[kind])
    (card,) = head["cards"]
    assert fields(head) - told("api/chart") == set()
    row = re.findall(rf"^\| `{kind}` \| (.+) \|$", SECTIONS["api/chart"], re.MULTILINE)[-1]
    series = next(one for one in card["series"] if one["kind"] == kind)
    assert set(series["columns"]) <= set(re.findall(r"`(\w+)`", row))
    for name, column in series["columns"].items():
        assert column["dtype"] in {"<f8", "<f4", "<u4", "|u1", "const"}
        if name in {"x", "bin", "first_x", "last_x", "min_x", "max_x"}:
            assert column["dtype"] == "<f8"
        if column["dtype"] == "const":
            assert set(column) == {"dtype", "value"}
        else:
            assert column["offset"] % 8 == 0
            assert column["length"] == series["rows"]


def test_other_forms_of_a_card_have_the_documented_columns(asker):
    given = {"runs": ["digits/cnn-0"], "cards": [{"id": "a", "keys": ["loss"], "width": 100}]}
    as_csv = asker.post("/api/chart", given, Accept="text/csv")
    assert as_csv.headers["content-type"].startswith("text/csv")
    names = next(csv.reader(io.StringIO(as_csv.body.decode())))
    assert names[:3] == ["run", "key", "rank"]
    places = {f"{end}_{of}" for end in ("first", "last", "min", "max") for of in ("step", "time")}
    assert set(names) <= told("api/chart") | places
    arrow = asker.post("/api/chart", given, Accept="application/vnd.apache.arrow.stream")
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    series = asker.ask(f"/api/series?{RUN}&key=loss&from=0&to=2")
    assert series.headers["content-type"].startswith("text/csv")
    assert series.body.splitlines()[0].decode() == "run,key,rank,step,time,value"
    assert len(series.body.split()) == 4


def test_heat_is_a_chart_with_the_documented_columns(asker):
    answer = asker.post("/api/media-heat", {"runs": ["digits/cnn-0"], "key": "weights"})
    assert answer.headers["content-type"] == "application/vnd.steno.chart"
    (size,) = np.frombuffer(answer.body[:4], "<u4")
    head = json.loads(answer.body[4 : 4 + size])
    assert fields(head) - told("api/media-heat") - told("api/chart") == set()
    assert {"edges", "as_logged"} <= set(head["cards"][0])


def test_statuses_and_headers_are_those_documented(asker, place):
    none = asker.ask("/api/runs", token=None)
    bad = asker.ask("/api/runs?where=config.lr+%3C%3C+1")
    for answer, status in (
        (none, 401),
        (asker.ask("/api/config?run=digits%2Fnone"), 404),
        (asker.ask("/api/media/digits%2Fcnn-0/media/none.png"), 404),
        (asker.ask("/api/none"), 404),
        (asker.ask("/api/config"), 400),
        (bad, 400),
        (asker.post("/api/views/rename", {"name": "none", "to": "more"}), 404),
        (asker.post("/api/runs", b" " * (4 << 20) + b"{}  "), 413),
        (asker.ask("/api/chart", "POST", {"cards": []}), 403),
        (asker.ask("/api/chart", "POST", {"cards": []}, X_Steno="1", Sec_Fetch_Site="cross-site"), 403),
    ):
        assert answer.status == status, answer.body
        assert {"error", "remedy"} <= set(answer.json)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert f"{status}:" in SECTIONS["For all resources"]
    assert isinstance(bad.json["at"], int)
    # A program that shows the token in a header needs `X-Steno` and nothing else.
    assert asker.ask("/api/runs", "POST", {}, X_Steno="1").status == 200
    whole = {"runs": ["digits/cnn-0"], "cards": [{"id": "a", "keys": ["loss"]}]}
    packed, plain = (asker.post("/api/chart", whole, Accept_Encoding=way) for way in ("gzip", "identity"))
    assert (packed.headers["content-encoding"], plain.headers["content-encoding"]) == ("gzip", None)
    assert gzip.decompress(packed.body) == plain.body
    item = asker.post("/api/media-index", {**RUNS, "cards": [{"id": "a", "key": "sample"}]}).json["cards"][0]["items"][
        0
    ]
    for run in (quote("digits/cnn-0", safe=""), "digits/cnn-0"):
        file = asker.ask(f"/api/media/{run}/{item['file']}")
        assert (file.status, file.headers["content-type"], len(file.body)) == (200, "image/png", item["bytes"])
        assert Path(item["file"]).stem in file.headers["etag"]


def test_a_view_whose_name_is_taken_is_409(asker):
    for name in ("one", "two"):
        assert asker.post("/api/views/save", {"name": name, "view": "logX=1", "replace": True}).status == 200
    for path, given in (
        ("save", {"name": "two", "view": "", "replace": False}),
        ("rename", {"name": "one", "to": "two"}),
    ):
        answer = asker.post(f"/api/views/{path}", given)
        assert (answer.status, set(answer.json)) == (409, {"error", "remedy"})
    assert asker.post("/api/views/remove", {"name": "two"}).json == {}
