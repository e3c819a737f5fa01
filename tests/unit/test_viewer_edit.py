"""Edits through the viewer: only where it allows them, only from its own page, each run by itself."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import Writer

import steno
import viewer_server

ADDED = {"runs": ["p/a"], "field": "tags", "value": {"add": ["good"]}}


@pytest.fixture
def place(tmp_path):
    for name in ("a", "b", "c"):
        with Writer(tmp_path / "runs" / "p" / name, tags=["recorded"]) as writer:
            writer.log((0, {"loss": 0.5}))
            writer.finish()
    return tmp_path / "runs"


@pytest.fixture
def asker(place):
    with viewer_server.serving(place, allow_edit=True) as asker:
        yield asker


def info(place, run):
    return steno.open(place / run).info


def cookie(asker):
    return asker.ask(f"/?token={asker.token}", token=None).headers["set-cookie"].partition(";")[0]


def untouched(place):
    return not [*place.rglob("edits.jsonl")]


def test_a_viewer_that_only_shows_refuses_and_says_how(place):
    with viewer_server.serving(place) as asker:
        assert asker.ask("/api/server").json["edit"] is False
        answer = asker.post("/api/edit", ADDED)
        assert answer.status == 403
        assert "--allow-edit" in answer.json["remedy"]
        assert "changes nothing" in answer.json["error"]
    assert untouched(place)


def test_each_field_is_edited_and_the_table_says_it(asker, place):
    assert asker.ask("/api/server").json["edit"] is True
    for field, value in (
        ("name", "better"), ("tags", {"add": ["x"], "remove": ["recorded"]}), ("notes", "two\nlines"),
        ("colour", "#00AAff"), ("archived", True),
    ):  # fmt: skip
        answer = asker.post("/api/edit", {"runs": ["p/a"], "field": field, "value": value})
        assert (answer.status, answer.json) == (200, {"edited": ["p/a"], "problems": []}), field
    found = info(place, "p/a")
    assert (found.name, found.tags, found.notes, found.colour, found.archived) == (
        "better", ("x",), "two\nlines", "#00aaff", True,
    )  # fmt: skip
    rows = asker.ask("/api/runs?archived=1&columns=tags&columns=notes").json["rows"]
    (row,) = [row for row in rows if row["run"] == "p/a"]
    assert (row["name"], row["values"], row["colour"], row["archived"]) == (
        "better", [["x"], "two\nlines"], "#00aaff", True,
    )  # fmt: skip


def test_one_run_that_cannot_be_edited_costs_no_other(asker, place):
    (place / "p" / "b" / "edits.jsonl").mkdir()
    shutil.rmtree(place / "p" / "c")
    wanted = {"runs": ["p/a", "p/b", "p/c", "p/none", "../p/a", "p/a"], "field": "notes", "value": "n"}
    answer = asker.post("/api/edit", wanted)
    assert answer.status == 200
    assert answer.json["edited"] == ["p/a"]
    problems = {one["run"]: one["error"] for one in answer.json["problems"]}
    assert list(problems) == ["p/b", "p/c", "p/none", "../p/a"]
    assert all(problems.values())
    assert info(place, "p/a").notes == "n"


def test_a_name_that_another_run_has_is_said_and_one_name_for_two_is_refused(asker, place):
    answer = asker.post("/api/edit", {"runs": ["p/a"], "field": "name", "value": "b"})
    assert answer.json["edited"] == []
    assert "a run already" in answer.json["problems"][0]["error"]
    answer = asker.post("/api/edit", {"runs": ["p/a", "p/b"], "field": "name", "value": "x"})
    assert (answer.status, answer.json["error"]) == (400, "a name is one run's: give it to one run")
    answer = asker.post("/api/edit", {"runs": ["p/a", "p/b"], "field": "name", "value": ""})
    assert answer.json["edited"] == ["p/a", "p/b"]


WRONG = (
    {"field": "state", "value": "failed"},
    {"field": "archived", "value": "yes"},
    {"field": "tags", "value": "one"},
    {"field": "tags", "value": {"add": ["x"], "other": []}},
    {"field": "tags", "value": [" "]},
    {"field": "notes", "value": "x" * 5000},
    {"field": "name", "value": "../x"},
    {"field": "name", "value": ".hidden"},
    {"field": "colour", "value": "red; }"},
    {"field": "notes"},
    {"field": "notes", "value": "n", "runs": []},
    {"field": "notes", "value": "n", "runs": ["p/a"] * 1001},
)


def test_what_cannot_be_is_refused_before_any_run_is_touched(asker, place):
    for wrong in WRONG:
        answer = asker.post("/api/edit", {"runs": ["p/a", "p/b"], **wrong})
        assert answer.status in {400, 413}, wrong
        assert answer.json["error"]
    assert untouched(place)


def test_only_the_viewers_own_page_edits(asker, place):
    with_cookie = {"Cookie": cookie(asker)}
    own = {"X_Steno": "1", "Sec_Fetch_Site": "same-origin"}
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for what, headers, body in (
        ("no header", {"Sec_Fetch_Site": "same-origin"}, ADDED),
        ("another origin", {"X_Steno": "1", "Origin": "http://evil.example"}, ADDED),
        ("another site", {**own, "Sec_Fetch_Site": "cross-site"}, ADDED),
        ("a sandbox", {"X_Steno": "1", "Origin": "null"}, ADDED),
        ("another port of the host", {**own, "Sec_Fetch_Site": "same-site"}, ADDED),
        ("a form", {**form, "Sec_Fetch_Site": "cross-site"}, b"runs=p%2Fa&field=notes&value=x"),
        ("a form as text", {"Content_Type": "text/plain"}, json.dumps(ADDED).encode()),
    ):
        answer = asker.ask("/api/edit", "POST", body, token=None, **with_cookie, **headers)
        assert answer.status == 403, what
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert asker.ask("/api/edit", "POST", ADDED, token=None, **own).status == 401
    assert asker.ask("/api/edit", "GET").status == 404
    assert asker.ask("/api/edit", "OPTIONS", Origin="http://evil.example").status == 403
    assert untouched(place)
    assert asker.ask("/api/edit", "POST", ADDED, token=None, **with_cookie, **own).status == 200
    assert info(place, "p/a").tags == ("recorded", "good")


STRANGE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["add", "remove", "x"]), inner),
    max_leaves=6,
)
LIKELY = st.fixed_dictionaries(
    {
        "runs": st.lists(st.sampled_from(["p/a", "p/b", "p/none", "..", "p"]) | st.text(max_size=6), max_size=4),
        "field": st.sampled_from(["name", "tags", "notes", "archived", "colour"]),
        "value": STRANGE | st.text(max_size=40) | st.lists(st.text(max_size=9), max_size=4) | st.just("#123456"),
    }
)


@given(body=LIKELY | st.fixed_dictionaries({}, optional=dict.fromkeys(("runs", "field", "value"), STRANGE)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_done_or_refused_and_every_run_stays_readable(asker, place, body):
    answer = asker.post("/api/edit", body)
    assert answer.status in {200, 400, 413}, answer.body
    if answer.status == 200:
        said = answer.json
        assert set(said["edited"]) | {one["run"] for one in said["problems"]} == set(body["runs"])
        assert set(said["edited"]) <= {"p/a", "p/b", "p/c"}
    else:
        assert answer.json["error"]
    assert {path.name for path in (place / "p").iterdir()} == {"a", "b", "c"}
    assert asker.ask("/api/runs?archived=1&columns=tags").json["all"] == 3
