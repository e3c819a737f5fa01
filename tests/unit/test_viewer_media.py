"""What `api/media-index` says of the media of runs: the nearest step, each value's file, and what is not there."""

from __future__ import annotations

import os
import time
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
import viewer_server
from steno.viewer.catalogue import Catalogue
from steno.viewer.gallery import Gallery

BOXES = [{"box": (1, 1, 5, 5), "label": "cat", "score": 0.75}]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("media")
    for number, every in enumerate((1, 3)):
        with steno.init(project="p", name=f"r{number}", dir=str(place)) as run:
            rng = np.random.default_rng(number)
            for step in range(number, 10, every):
                pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
                mask = {"data": np.zeros((8, 8), int), "classes": {0: "sky"}}
                run.log(
                    {
                        "loss": 1.0,
                        "sample": steno.Image(pixels, f"at {step}", boxes=BOXES, masks={"m": mask}),
                        "more": [steno.Image(pixels) for _ in range(3)],
                        "said": "<b>plain</b>",
                        "notes": steno.Text(f"*{step}*"),
                        "weights": steno.Histogram(rng.normal(size=100)),
                    },
                    step=step,
                )
            assert run.finish(60)
    return place


@pytest.fixture(scope="module")
def asker(place):
    with viewer_server.serving(place) as asker:
        yield asker


def card(asker, key, step=None, runs=("p/r0", "p/r1"), **more):
    answer = asker.post(
        "/api/media-index", {"runs": list(runs), "cards": [{"id": "a", "key": key, "step": step, **more}]}
    )
    assert answer.status == 200, answer.body
    return answer.json["cards"][0]


def test_each_run_gives_the_nearest_step_at_or_before(asker):
    found = card(asker, "sample", 3)
    assert found["steps"] == list(range(10))
    assert [(one["run"], one["step"], one["caption"]) for one in found["items"]] == [
        ("p/r0", 3, "at 3"),
        ("p/r1", 1, "at 1"),
    ]
    assert [one["step"] for one in card(asker, "sample")["items"]] == [9, 7]
    early = card(asker, "sample", 0)
    assert [one["run"] for one in early["items"]] == ["p/r0"]
    assert early["none_yet"] == [{"run": "p/r1", "first": 1}]


def test_an_image_is_told_with_its_boxes_masks_and_file(asker):
    (one,) = card(asker, "sample", 4, ["p/r0"])["items"]
    assert (one["kind"], one["state"], one["meta"]["shape"]) == ("image", "ready", [8, 8, 3])
    assert one["meta"]["boxes"] == [{"box": [1, 1, 5, 5], "label": "cat", "score": 0.75}]
    mask = one["meta"]["attached"]["m"]
    assert (mask["kind"], mask["state"], mask["meta"]["classes"]) == ("mask", "ready", {"0": "sky"})
    for file, size in ((one["file"], one["bytes"]), (mask["file"], mask["bytes"])):
        answer = asker.ask(f"/api/media/p%2Fr0/{quote(file)}")
        assert (answer.status, answer.headers["content-type"], len(answer.body)) == (200, "image/png", size)


def test_a_list_is_one_card(asker):
    assert [one["key"] for one in card(asker, "more", 2, ["p/r0"])["items"]] == ["more/0", "more/1", "more/2"]
    few = card(asker, "more", 2, ["p/r0"], limit=2)
    assert (len(few["items"]), few["left_out"]) == (2, 1)


def test_the_steps_are_left_away_where_they_are_known(asker):
    found = card(asker, "sample", 3, steps_known=True)
    assert found["steps"] is None
    assert found["items"] == card(asker, "sample", 3)["items"]


def test_texts_are_told_whole_and_bins_are_not(asker):
    (one,) = card(asker, "said", runs=["p/r0"])["items"]
    assert (one["kind"], one["meta"]["text"]) == ("plain", "<b>plain</b>")
    (one,) = card(asker, "notes", runs=["p/r0"])["items"]
    assert (one["kind"], one["meta"]["text"], one["file"]) == ("text", "*9*", None)
    (one,) = card(asker, "weights", runs=["p/r0"])["items"]
    assert (one["kind"], one["state"]) == ("histogram", "inline")
    assert not {"counts", "edges"} & set(one["meta"])


def test_what_is_missing_costs_no_other(asker):
    cards = [{"id": 1}, {"id": 2, "key": "sample", "limit": 0}, {"id": 3, "key": "loss"}, {"id": 4, "key": "none"}]
    found = asker.post("/api/media-index", {"runs": ["p/r0", "gone"], "cards": cards}).json["cards"]
    assert ["error" in one for one in found] == [True, True, False, False]
    assert found[2]["items"] == found[3]["items"] == found[3]["steps"] == []
    assert [one["run"] for one in found[3]["problems"]] == ["gone"]


def test_a_file_that_is_gone_or_a_link_is_said(tmp_path):
    with steno.init(project="p", name="r0", dir=str(tmp_path)) as run:
        for step in range(4):
            run.log({"sample": steno.Image(np.full((4, 4), step, np.uint8))}, step=step)
        assert run.finish(60)
    with viewer_server.serving(tmp_path) as asker:
        files = [card(asker, "sample", step, ["p/r0"])["items"][0]["file"] for step in (1, 2)]
        (tmp_path / "p" / "r0" / files[0]).unlink()
        path = tmp_path / "p" / "r0" / files[1]
        path.unlink()
        os.symlink("/etc/passwd", path)
        assert card(asker, "sample", 1, ["p/r0"])["items"][0]["state"] == "gone"
        (one,) = card(asker, "sample", 2, ["p/r0"])["items"]
        assert one["state"] == "damaged"
        assert "symbolic link" in one["error"]
        assert asker.ask(f"/api/media/p%2Fr0/{files[0]}").status == 404
        assert b"root:" not in asker.ask(f"/api/media/p%2Fr0/{files[1]}").body


def test_a_step_that_comes_is_there_at_once(tmp_path):
    with viewer_server.serving(tmp_path) as asker, steno.init(project="p", name="live", dir=str(tmp_path)) as run:
        for step in range(3):
            run.log({"sample": steno.Image(np.full((4, 4), step, np.uint8))}, step=step)
            assert run.flush(30)
            found = card(asker, "sample", runs=["p/live"])
            assert found["steps"] == list(range(step + 1))
            assert found["items"][0]["state"] in {"waiting", "ready"}


def test_much_that_changes_is_read_now_and_then_and_said(tmp_path):
    """So that a run that goes on costs a part of a core, however much it has."""
    gallery = Gallery(Catalogue(tmp_path))
    with steno.init(project="p", name="live", dir=str(tmp_path)) as run:
        for step in range(6000):
            run.log({"text": steno.Text(f"at {step}")}, step=step)
        assert run.flush(60)
        rows, fresh = gallery.look("p/live", "text")
        assert (len(rows), fresh) == (6000, True)
        run.log({"text": steno.Text("more")}, step=6000)
        assert run.flush(60)
        # It took longer than a trifle to read: what is known stands for a while.
        rows, fresh = gallery.look("p/live", "text")
        if not fresh:
            assert len(rows) == 6000
        until = time.monotonic() + 60
        while len(rows) < 6001:
            assert time.monotonic() < until
            time.sleep(0.05)
            rows, fresh = gallery.look("p/live", "text")
        assert run.finish(60)


STRANGE = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["p/r0", "sample"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_posted_is_answered_or_refused(asker, data):
    body = data.draw(st.fixed_dictionaries({}, optional={"runs": STRANGE, "cards": STRANGE}))
    if data.draw(st.booleans()):
        one = st.fixed_dictionaries(
            {"key": st.just("sample")}, optional=dict.fromkeys(("id", "step", "limit", "steps_known"), STRANGE)
        )
        body = {"runs": ["p/r0"], "cards": [data.draw(one)]}
    answer = asker.post("/api/media-index", body)
    assert answer.status in {200, 400, 404, 413}, (answer.status, answer.body)
    if answer.status != 200:
        assert answer.json["error"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(step=st.floats(-5, 20), key=st.sampled_from(["sample", "more", "notes"]))
def test_the_step_is_the_nearest_at_or_before_for_any_number(asker, place, step, key):
    found = card(asker, key, step)
    for run in ("p/r0", "p/r1"):
        with steno.open(place / run) as reader:
            before = [one.step for one in reader.media(key) if one.step <= step]
        steps = {one["step"] for one in found["items"] if one["run"] == run}
        assert steps == ({max(before)} if before else set())
