"""Runs in an object store: listed, read by curves, and shown by the viewer, also while the store is out of reach."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import object_stores
import steno
import viewer_server
from object_stores import eventually
from steno.errors import StenoError, UsageError
from steno.objects.store import ObjectStore
from steno.viewer.handed import hand_on
from steno.viewer.kept import FOLDER, KeptViews, TakenError

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def url(server, gate):
    name = f"b-{os.urandom(8).hex()}"
    object_stores.client(server).create_bucket(Bucket=name)
    return f"s3://{name}/runs"


def record(tmp_path, url, name, *, steps=2000, **options):
    with steno.init(project="p", name=name, dir=str(tmp_path / "runs"), store=url, **options) as run:
        for step in range(steps):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.log({"pixel": steno.Image(np.zeros((4, 4, 3), np.uint8))}, step=steps)
        assert run.finish(90)


def test_runs_of_a_store_are_listed_chosen_and_drawn(url, tmp_path):
    assert steno.runs(url) == []
    for number in range(3):
        record(tmp_path, url, f"r{number}", config={"lr": number})
    runs = steno.runs(url)
    assert [(one.project, one.name, one.state) for one in runs] == [("p", f"r{at}", "finished") for at in (2, 1, 0)]
    assert [one.url for one in runs] == [f"{url}/p/r{at}" for at in (2, 1, 0)]
    assert [one.name for one in steno.runs(url, where="config.lr > 0 and loss.max == 1", sort="config.lr")] == [
        "r1",
        "r2",
    ]
    assert len(steno.runs(url, limit=2)) == 2
    curves = steno.bins("loss", runs, width=10)
    assert [one.total for one in curves.curves] == [2000] * 3
    assert curves.left_out == ()
    assert len(runs.frame()) == 3


def test_a_store_that_is_out_of_reach_is_an_error(url, gate):
    gate.close()
    with pytest.raises(StenoError, match="cannot be listed"):
        steno.runs(url)


@pytest.mark.timing
def test_the_viewer_shows_a_store_and_what_was_known_while_it_is_out_of_reach(url, gate, tmp_path):
    record(tmp_path, url, "first", config={"lr": 0.1})
    with viewer_server.serving(url) as asker:
        said = asker.ask("/api/runs?columns=config.lr&columns=loss.last").json
        assert [(row["run"], row["values"]) for row in said["rows"]] == [("p/first", [0.1, 1 / 2000])]
        assert said["store"]["problem"] == ""
        assert asker.post("/api/keys", {"runs": ["p/first"]}).json["points"] == [2000, 1]
        card = asker.card(keys=["loss"], runs=["p/first", "p/none"], width=10)
        assert (card["points"], [one["run"] for one in card["problems"]]) == (2000, ["p/none"])
        assert asker.ask("/api/config?run=p%2Ffirst").json["config"] == {"lr": 0.1}
        (pixel,) = (tmp_path / "runs" / "p" / "first" / "media").rglob("*.png")
        name = pixel.relative_to(tmp_path / "runs" / "p" / "first").as_posix()
        assert asker.ask(f"/api/media/p%2Ffirst/{name}").body == pixel.read_bytes()
        assert asker.ask(f"/api/media/p%2Ffirst/{name[:-7]}ff.png").status == 404
        assert asker.ask("/api/media/p%2Ffirst/media%2F..%2F..%2Frun.json").status == 422
        assert hand_on(url, str(tmp_path / "view.html"), where=None, view=None)[1] == []
        assert b'id="steno-data"' in (tmp_path / "view.html").read_bytes()
        record(tmp_path, url, "second")
        eventually(lambda: len(asker.ask("/api/runs").json["rows"]) == 2)
        gate.close()
        eventually(lambda: asker.ask("/api/runs").json["store"]["problem"])
        said = asker.ask("/api/runs").json
        assert [row["run"] for row in said["rows"]] == ["p/second", "p/first"]
        assert said["store"]["seen"]
        assert "cannot be listed" in said["store"]["problem"]
        begun = time.monotonic()
        assert asker.card(keys=["loss"], runs=["p/first"], width=10)["points"] == 2000
        assert time.monotonic() - begun < 5
        gate.open()
        # An outage is no reason to ask less often: its looks took ten seconds each.
        eventually(lambda: asker.ask("/api/runs").json["store"]["problem"] == "", secs=30)


def test_views_are_kept_beside_the_runs_of_a_store(url):
    views_are_kept(url)


@pytest.mark.parametrize("form", ["file", "memory"])
def test_views_are_kept_beside_the_runs_of_any_store(form, tmp_path):
    views_are_kept(f"file://{tmp_path}/store" if form == "file" else f"memory://{os.urandom(8).hex()}")


def views_are_kept(url):
    kept, other = KeptViews(url), KeptViews(url)
    assert kept.all() == ([], 0)
    odd = "run [a-c] *?#%2F + é \U0001f600"
    for name in ("run", "mine", odd):
        kept.save(name, f"where={name}", replace=False)
    assert [(one.name, one.view, one.problem) for one in other.all()[0]] == [
        (name, f"where={name}", "") for name in sorted(("run", "mine", odd))
    ]
    with pytest.raises(TakenError, match="already"):
        other.save("mine", "x=time", replace=False)
    with pytest.raises(TakenError):
        other.call("mine", "run")
    assert other.get("mine").view == "where=mine"
    other.save("mine", "#x=time", replace=True)
    assert kept.get("mine").view == "x=time"
    assert {one.name: one.view for one in kept.all()[0]}["mine"] == "x=time"
    kept.call(odd, "plain")
    kept.drop("mine")
    for act in (lambda: kept.drop("mine"), lambda: kept.call("mine", "x"), lambda: kept.get("mine")):
        with pytest.raises(StenoError, match="no view 'mine'"):
            act()
    assert [(one.name, one.view) for one in other.all()[0]] == [("plain", f"where={odd}"), ("run", "where=run")]
    for name in ("..", "a/b", ".x", ""):
        with pytest.raises(UsageError, match="view name"):
            kept.save(name, "x=time", replace=True)
    assert sorted(ObjectStore(url).listing()) == [f"{FOLDER}/plain.json", f"{FOLDER}/run.json"]
    assert steno.runs(url) == []  # though a view is called run, and a run is where its run.json is


def test_what_strangers_put_beside_the_runs_of_a_store_is_said_and_costs_no_other(url):
    KeptViews(url).save("good", "x=time", replace=False)
    store = ObjectStore(url)
    for name, content in {"torn": b'{"steno_view"', "list": b"[1]", "large": b'"' + b"x" * (200 << 10) + b'"'}.items():
        store.write(f"{FOLDER}/{name}.json", content)
    store.write(f"{FOLDER}/deep/er.json", b"{}")
    found = {one.name: one for one in KeptViews(url).all()[0]}
    assert [name for name, one in sorted(found.items()) if one.problem] == ["large", "list", "torn"]
    assert found["good"].view == "x=time"


def test_only_a_viewer_that_allows_edits_keeps_views_in_the_store(url, gate, tmp_path):
    record(tmp_path, url, "first", config={"lr": 0.1}, steps=20)
    record(tmp_path, url, "second", config={"lr": 0.2}, steps=20)
    wanted = {"name": "run", "view": "runs=all&where=config.lr%20%3C%200.15"}
    with viewer_server.serving(url) as asker:
        begun = len(gate.seen)
        refused = asker.post("/api/views/save", wanted)
        assert (refused.status, "--allow-edit" in refused.json["remedy"]) == (403, True)
        assert [one for one in gate.seen[begun:] if one[0] != "GET" and "list" not in one[1]] == []
    with viewer_server.serving(url, allow_edit=True) as asker:
        assert asker.post("/api/views/save", wanted).status == 200
        assert asker.post("/api/views/save", wanted).status == 409
        assert [one["name"] for one in asker.ask("/api/views").json["views"]] == ["run"]
        assert [row["run"] for row in asker.ask("/api/runs").json["rows"]] == ["p/second", "p/first"]
        assert [one["edited"] for one in [asker.post("/api/edit", _noted("p/first")).json]] == [["p/first"]]
        gate.forbidden = FOLDER
        (said,) = asker.ask("/api/views").json["views"]
        assert "cannot be listed" in said["problem"]
        assert "cannot be written" in asker.post("/api/views/save", {**wanted, "name": "x"}).json["error"]
        gate.forbidden = ""
    assert hand_on(url, str(tmp_path / "view.html"), where=None, view="run")[1] == []
    text = (tmp_path / "view.html").read_bytes()
    assert b"<title>run</title>" in text


def _noted(run):
    return {"runs": [run], "field": "notes", "value": "good"}


def test_a_run_that_goes_on_is_followed_in_the_store(url, tmp_path):
    with steno.init(project="p", name="live", dir=str(tmp_path / "runs"), store=url) as run:
        run.log({"loss": 1.0}, step=0)
        assert run.flush(30)
        with viewer_server.serving(url) as asker:

            def row():
                rows = asker.ask("/api/runs").json["rows"]
                return bool(rows) and rows[0]["state"] == "running"

            def points():
                return asker.card(keys=["loss"], runs=["p/live"]).get("points", 0)

            eventually(row)
            eventually(lambda: points() == 1)
            run.log({"loss": 2.0}, step=1)
            assert run.flush(30)
            eventually(lambda: points() == 2)
        assert run.finish(60)


def test_media_of_a_store_come_when_they_are_asked_for(url, tmp_path):
    with steno.init(project="p", name="r", dir=str(tmp_path / "runs"), store=url) as run:
        for step in range(3):
            run.log(
                {
                    "pixel": steno.Image(np.full((4, 4, 3), step, np.uint8)),
                    "weights": steno.Histogram(np.random.default_rng(step).normal(size=600_000)),
                    "results": steno.Table({"a": [step, 2**62]}),
                },
                step=step,
            )
        assert run.finish(90)
    with viewer_server.serving(url) as asker:
        (run_id,) = [row["run"] for row in asker.ask("/api/runs").json["rows"]]
        cards = [{"id": key, "key": key, "step": 1} for key in ("pixel", "results")]
        pixel, results = asker.post("/api/media-index", {"runs": [run_id], "cards": cards}).json["cards"]
        assert pixel["steps"] == [0, 1, 2]
        (one,) = pixel["items"]
        assert (one["step"], one["state"]) == (1, "ready")
        answer = asker.ask(f"/api/media/{run_id.replace('/', '%2F')}/{one['file']}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        (one,) = results["items"]
        page = asker.post("/api/media-table", {"run": run_id, "file": one["file"]}).json
        assert page["rows"] == [[1], [{"$": str(2**62)}]]
        (card,) = asker.post("/api/media-heat", {"runs": [run_id], "key": "weights"}).cards()
        (series,) = card["series"]
        assert (series["points"], series["damaged"]) == (3, 0)
        np.testing.assert_allclose(series["columns"]["count"].sum(), 1_800_000)


def test_a_run_that_is_damaged_in_the_store_is_a_row(url, server, tmp_path):
    record(tmp_path, url, "good", steps=10)
    bucket = url.split("/")[2]
    object_stores.client(server).put_object(Bucket=bucket, Key=f"runs/_cards/p/bad.{'0' * 16}", Body=b"[]")
    with viewer_server.serving(url) as asker:
        rows = {row["run"]: row for row in asker.ask("/api/runs").json["rows"]}
        assert rows["p/bad"]["problem"]
        assert rows["p/good"]["problem"] == ""
        card = asker.card(keys=["loss"], runs=["p/bad", "p/good"])
        assert [one["run"] for one in card["problems"]] == ["p/bad"]
        assert card["points"] == 10


def test_the_page_of_a_run_in_a_store_has_its_overview_its_artifacts_and_its_records(url, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    with steno.init(project="p", name="kept", dir=str(tmp_path / "runs"), store=url, capture="stdout") as run:
        print("a line")
        run.log({"loss": 1.0})
        run.log_artifact(str(tmp_path / "model.pt"), "model")
        assert run.finish(90)
    with viewer_server.serving(url) as asker:
        (row,) = asker.ask("/api/runs").json["rows"]
        name = row["run"].replace("/", "%2F")
        assert asker.ask(f"/api/config?run={name}").json["attempts"][0]["ends"] == 1
        health = asker.ask(f"/api/health?run={name}")
        assert (health.status, health.json["damage"], health.json["advice"]) == (200, [], [])
        (kept,) = asker.ask(f"/api/artifacts?run={name}").json["artifacts"]
        assert asker.ask(f"/api/artifact/{name}/model/{kept['digest']}/model.pt").body == b"weights"
        (line,) = asker.ask(f"/api/records?run={name}&kind=output").json["records"]
        assert line["value"]["text"] == "a line"
