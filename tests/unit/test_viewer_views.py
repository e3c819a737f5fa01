"""Views that are kept under names: their files, who may write them, and what strangers put in their place."""

from __future__ import annotations

import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import viewer_server
from steno.errors import StenoError, UsageError
from steno.viewer.kept import FOLDER, LONGEST, KeptViews, TakenError

VIEW = "where=config.lr%20%3C%200.1&smooth=ema~40"
BAD_NAMES = ("", " ", ".", "..", ".x", "a/b", "../x", "a\\b", "a\nb", "a\0b", "x" * 201, " x")


def test_a_view_is_kept_renamed_and_removed(tmp_path):
    kept = KeptViews(tmp_path / "runs")
    assert kept.all() == ([], 0)
    kept.save("mine", VIEW, replace=False)
    path = tmp_path / "runs" / FOLDER / "mine.json"
    assert json.loads(path.read_text())["view"] == VIEW
    assert [(one.name, one.view, one.problem) for one in kept.all()[0]] == [("mine", VIEW, "")]
    with pytest.raises(TakenError, match="already"):
        kept.save("mine", "x=time", replace=False)
    assert kept.get("mine").view == VIEW
    kept.save("mine", "#x=time", replace=True)
    assert kept.get("mine").view == "x=time"
    kept.save("other", VIEW, replace=False)
    with pytest.raises(TakenError):
        kept.call("mine", "other")
    assert kept.get("other").view == VIEW
    kept.call("mine", "lr 0.1 (best)")
    assert [one.name for one in kept.all()[0]] == ["lr 0.1 (best)", "other"]
    kept.drop("other")
    for act in (lambda: kept.drop("other"), lambda: kept.call("other", "x"), lambda: kept.get("other")):
        with pytest.raises(StenoError, match="no view 'other'"):
            act()
    assert [one.name for one in (tmp_path / "runs" / FOLDER).iterdir()] == ["lr 0.1 (best).json"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_never_becomes_a_path(tmp_path, name):
    kept = KeptViews(tmp_path / "runs")
    kept.save("good", VIEW, replace=False)
    for act in (
        lambda: kept.save(name, VIEW, replace=True), lambda: kept.call("good", name), lambda: kept.call(name, "x"),
        lambda: kept.drop(name), lambda: kept.get(name),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="view name"):
            act()
    assert [*tmp_path.rglob("*.json")] == [tmp_path / "runs" / FOLDER / "good.json"]


@pytest.mark.parametrize("view", [None, 1, ["x"], "a\nb", "x" * (LONGEST + 1)])
def test_what_is_no_view_is_not_kept(tmp_path, view):
    with pytest.raises(UsageError, match="a view is"):
        KeptViews(tmp_path).save("x", view, replace=False)
    assert not (tmp_path / FOLDER).exists()


def test_what_strangers_put_there_is_said_and_costs_no_other(tmp_path):
    kept = KeptViews(tmp_path)
    kept.save("good", VIEW, replace=False)
    folder, secret = tmp_path / FOLDER, tmp_path / "secret.json"
    secret.write_text(json.dumps({"steno_view": 1, "view": "secret"}))
    (folder / "link.json").symlink_to(secret)
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    for name, content in {
        "torn": b'{"steno_view": 1, "vi', "list": b"[1]", "later": b'{"steno_view": 9, "view": ""}', "nul": b"\0" * 50,
        "number": b'{"steno_view": 1, "view": 5}', "lines": b'{"steno_view": 1, "view": "a\\nb"}',
        "large": b'{"steno_view": 1, "view": "' + b"x" * (200 << 10) + b'"}', "deep": b"[" * 100_000,
        "long": b'{"steno_view": 1, "view": "' + b"x" * (40 << 10) + b'"}',
    }.items():  # fmt: skip
        (folder / f"{name}.json").write_bytes(content)
    (folder / "notes.txt").write_text("not a view")
    (folder / ".hidden.json").write_text("{}")
    found = {one.name: one for one in kept.all()[0]}
    assert found["good"].view == VIEW
    assert "secret" not in str([one.view for one in found.values()])
    assert len(found) == 13
    assert all(one.problem and one.view == "" for name, one in found.items() if name != "good")
    with pytest.raises(StenoError, match="cannot be opened"):
        kept.get("torn")


def test_a_folder_that_is_a_link_is_neither_read_nor_written(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / FOLDER).symlink_to(elsewhere)
    kept = KeptViews(tmp_path / "runs")
    assert "symbolic link" in kept.all()[0][0].problem
    with pytest.raises(StenoError, match="symbolic link"):
        kept.save("x", VIEW, replace=True)
    assert [*elsewhere.iterdir()] == []


def test_only_a_viewer_that_allows_edits_writes_views_and_each_shows_them(tmp_path):
    KeptViews(tmp_path).save("mine", VIEW, replace=False)
    with viewer_server.serving(tmp_path) as asker:
        assert [(one["name"], one["view"]) for one in asker.ask("/api/views").json["views"]] == [("mine", VIEW)]
        for what in ("save", "rename", "remove"):
            answer = asker.post(f"/api/views/{what}", {"name": "mine", "to": "x", "view": "", "replace": True})
            assert answer.status == 403
            assert "--allow-edit" in answer.json["remedy"]
        assert KeptViews(tmp_path).get("mine").view == VIEW


def test_a_database_keeps_no_views_and_says_so():
    kept = KeptViews("clickhouse://user@localhost:8123/runs")
    assert kept.all() == ([], 0)
    for act in (lambda: kept.save("a", VIEW, replace=True), lambda: kept.call("a", "b"), lambda: kept.drop("a")):
        with pytest.raises(UsageError, match="in a database: copy the address"):
            act()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("views") / "runs"


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place, allow_edit=True) as asker:
        yield asker


def test_views_are_changed_by_the_page_alone(asker, place):
    assert asker.post("/api/views/save", {"name": "a", "view": VIEW}).status == 200
    taken = asker.post("/api/views/save", {"name": "a", "view": "x=time"})
    assert taken.status == 409
    assert "already" in taken.json["error"]
    assert asker.post("/api/views/save", {"name": "a", "view": "x=time", "replace": True}).status == 200
    assert asker.post("/api/views/rename", {"name": "a", "to": "b"}).status == 200
    assert [one["view"] for one in asker.ask("/api/views").json["views"]] == ["x=time"]
    assert stat.S_ISREG((place / FOLDER / "b.json").lstat().st_mode)
    for headers in (
        {}, {"X_Steno": "1", "Origin": "http://evil.example"}, {"X_Steno": "1", "Sec_Fetch_Site": "cross-site"},
    ):  # fmt: skip
        cookie = asker.ask(f"/?token={asker.token}", token=None).headers["set-cookie"].partition(";")[0]
        answer = asker.ask("/api/views/remove", "POST", {"name": "b"}, token=None, Cookie=cookie, **headers)
        assert answer.status == 403
    assert asker.post("/api/views/remove", {"name": "b"}).status == 200
    assert asker.post("/api/views/remove", {"name": "b"}).status == 404
    assert asker.ask("/api/views").json == {"views": [], "left_out": 0}


ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.lists(st.text(max_size=3), max_size=2)
NAME = st.sampled_from(["a", "b", *BAD_NAMES]) | ANY


@given(
    what=st.sampled_from(["save", "rename", "remove"]),
    body=st.fixed_dictionaries({}, optional={"name": NAME, "to": NAME, "view": ANY, "replace": ANY}),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_done_or_refused_and_no_file_is_made_elsewhere(asker, place, what, body):
    answer = asker.post(f"/api/views/{what}", body)
    assert answer.status in {200, 400, 404, 409}, answer.body
    assert answer.status == 200 or answer.json["error"]
    assert not any(one["problem"] for one in asker.ask("/api/views").json["views"])
    assert {path.name for path in place.parent.iterdir()} <= {"runs"}
    assert {path.name for path in place.iterdir()} <= {FOLDER} if place.exists() else True
