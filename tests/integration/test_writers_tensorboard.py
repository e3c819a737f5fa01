"""The real TensorBoard server on a writer's logdir: each plugin serves what was written for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

import steno

RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("served")
    with steno.SummaryWriter(folder / "log") as writer:
        for step in range(3):
            writer.add_scalar("train/loss", 1 / (step + 1), step)
            writer.add_scalars("many", {"sin": 0.1, "cos": 0.2}, step)
            writer.add_image("picture", RNG.integers(0, 255, (3, 9, 11), np.uint8), step)
            writer.add_histogram("weights", RNG.normal(size=200), step)
        writer.add_audio("sound", np.sin(np.arange(400) / 9), 0, 8000)
        writer.add_text("notes", "**bold**", 0)
        writer.add_pr_curve("curve", RNG.integers(0, 2, 50), RNG.random(50), 0)
        writer.add_mesh("cloud", RNG.random((1, 5, 3)), colors=RNG.integers(0, 255, (1, 5, 3)))
        for number in range(2):
            writer.add_hparams(
                {"lr": 0.1 * number, "kind": "adam"}, {"accuracy": 0.5 + number}, name=f"session {number}"
            )
        writer.add_custom_scalars(
            {"group": {"chart": ["Multiline", ["train/.*"]], "band": ["Margin", ["a", "b", "c"]]}}
        )
        writer.add_embedding(RNG.random((4, 3)), list("abcd"), RNG.random((4, 3, 8, 8)))
        writer.add_graph(torch.nn.Linear(2, 3), torch.zeros(1, 2))
    return folder / "log"


@pytest.fixture(scope="module")
def server(logdir):
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0",
         "--host", "127.0.0.1", "--load_fast", "false", "--reload_interval", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if found := re.search(r"http://[^ ]+", line):
                break
        else:
            raise AssertionError("TensorBoard did not start")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield found[0].rstrip("/")
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def get(server, path, **query):
    url = f"{server}/data/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def ask(server, path, **query):
    return json.loads(get(server, path, **query))


def test_all_plugins_are_active(server):
    wanted = {
        "scalars", "images", "audio", "text", "histograms", "distributions", "pr_curves", "mesh", "hparams",
        "custom_scalars", "projector", "graphs",
    }  # fmt: skip
    deadline = time.monotonic() + 60
    while True:  # the projector looks for its files on a thread of its own
        enabled = {name for name, about in ask(server, "plugins_listing").items() if about["enabled"]}
        if enabled >= wanted:
            return
        assert time.monotonic() < deadline, wanted - enabled
        time.sleep(0.1)


def test_scalars(server):
    tags = ask(server, "plugin/scalars/tags")
    assert {run: sorted(found) for run, found in tags.items()} == {
        ".": ["train/loss"], "many/sin": ["many"], "many/cos": ["many"],
        "session 0": ["accuracy"], "session 1": ["accuracy"],
    }  # fmt: skip
    rows = ask(server, "plugin/scalars/scalars", run=".", tag="train/loss")
    assert [(step, round(value, 4)) for _, step, value in rows] == [(0, 1.0), (1, 0.5), (2, 0.3333)]


def test_pictures_sounds_and_words(server):
    assert ask(server, "plugin/images/tags")["."]["picture"]["samples"] == 1
    rows = ask(server, "plugin/images/images", run=".", tag="picture", sample=0)
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert get(server, f"plugin/images/individualImage?{rows[0]['query']}").startswith(b"\x89PNG")
    rows = ask(server, "plugin/audio/audio", run=".", tag="sound", sample=0)
    assert get(server, f"plugin/audio/individualAudio?{rows[0]['query']}").startswith(b"RIFF")
    rows = ask(server, "plugin/text/text", run=".", tag="notes/text_summary")
    assert "<strong>bold</strong>" in rows[0]["text"]


def test_distributions(server):
    rows = ask(server, "plugin/histograms/histograms", run=".", tag="weights")
    assert [step for _, step, _ in rows] == [0, 1, 2]
    assert sum(count for _, _, count in rows[0][2]) == pytest.approx(200)
    assert len(ask(server, "plugin/distributions/distributions", run=".", tag="weights")) == 3


def test_curves_and_meshes(server):
    found = ask(server, "plugin/pr_curves/pr_curves", tag="curve", run=".")
    assert found["."][0]["step"] == 0
    assert len(found["."][0]["precision"]) > 10
    found = ask(server, "plugin/mesh/meshes", run=".", tag="cloud", sample=0)
    assert sorted(one["content_type"] for one in found) == [1, 3]
    data = np.frombuffer(
        get(server, "plugin/mesh/data", run=".", tag="cloud", sample=0, step=0, content_type="VERTEX"), "<f4"
    )
    assert data.size == 15


def test_sessions_of_hyperparameters(server):
    request = urllib.request.Request(
        f"{server}/data/plugin/hparams/experiment", json.dumps({"experimentName": ""}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.loads(answer.read())
    assert {one["name"] for one in found["hparamInfos"]} == {"lr", "kind"}
    assert any(one["name"]["tag"] == "accuracy" for one in found["metricInfos"])


def test_custom_charts(server):
    layout = ask(server, "plugin/custom_scalars/layout")
    assert [chart["title"] for chart in layout["category"][0]["chart"]] == ["chart", "band"]
    found = ask(server, "plugin/custom_scalars/scalars", run=".", tag="train/.*")
    assert list(found["tag_to_events"]) == ["train/loss"]


def test_the_projector(server):
    (run,) = ask(server, "plugin/projector/runs")
    config = ask(server, "plugin/projector/info", run=run)
    assert config["embeddings"][0]["tensorName"] == "default:00000"
    assert get(server, "plugin/projector/metadata", run=run, name="default:00000") == b"a\nb\nc\nd\n"
    assert get(server, "plugin/projector/sprite_image", run=run, name="default:00000").startswith(b"\x89PNG")
    assert len(get(server, "plugin/projector/tensor", run=run, name="default:00000")) == 4 * 3 * 4


def test_the_graph(server):
    found = ask(server, "plugin/graphs/info")
    assert found["."]["run_graph"]
    assert b"node {" in get(server, "plugin/graphs/graph", run=".")
