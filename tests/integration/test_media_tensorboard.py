"""The real TensorBoard, started as a server on one of our runs: every plugin shows its kind of media."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

import steno

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 255, (20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    place = tmp_path_factory.mktemp("shown")
    with steno.init(project="media", name="shown", dir=place, destinations=["tensorboard"]) as run:
        for step in range(3):
            run.log(
                {
                    "loss": 1.0 / (step + 1),
                    "picture": steno.Image(PIXELS),
                    "film": steno.Video(np.stack([PIXELS] * 4)),
                    "sound": steno.Audio(np.sin(np.arange(800) / 9), 8000),
                    "weights": steno.Histogram(RNG.normal(size=5000)),
                    "words": steno.Text(f"**step {step}**"),
                    "cloud": steno.Object3D(RNG.random((9, 3)), faces=[[0, 1, 2]]),
                },
                step=step,
            )
    return run.dir


@pytest.fixture(scope="module")
def fetch(run_dir):
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(run_dir), "--port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ) as server:
        said = ""
        while (found := re.search(r"http://[^/]*:(\d+)/", said)) is None:
            line = server.stderr.readline()
            assert line, said
            said += line

        def get(path, **query):
            address = f"http://127.0.0.1:{found[1]}/data/{path}?{urllib.parse.urlencode(query)}"
            with urllib.request.urlopen(address, timeout=20) as answer:
                return answer.read()

        yield get
        server.kill()


def until(read, ready, seconds=60):
    deadline = time.monotonic() + seconds
    while not ready(found := read()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ready(found), found
    return found


def plain(data):
    return json.loads(data)


def test_images_and_videos(fetch):
    tags = until(lambda: plain(fetch("plugin/images/tags")), lambda found: "picture" in found.get("tensorboard", {}))
    assert set(tags["tensorboard"]) == {"picture", "film"}
    shown = until(
        lambda: plain(fetch("plugin/images/images", run="tensorboard", tag="picture", sample=0)),
        lambda found: len(found) == 3,
    )
    assert [one["step"] for one in shown] == [0, 1, 2]
    assert fetch("plugin/images/individualImage?" + shown[2]["query"] + "&").startswith(b"\x89PNG")
    film = plain(fetch("plugin/images/images", run="tensorboard", tag="film", sample=0))
    assert fetch("plugin/images/individualImage?" + film[0]["query"] + "&").startswith(b"GIF89a")


def test_audio(fetch):
    shown = until(
        lambda: (
            plain(fetch("plugin/audio/audio", run="tensorboard", tag="sound", sample=0))
            if "sound" in str(fetch("plugin/audio/tags"))
            else []
        ),
        lambda found: len(found) == 3,
    )
    assert fetch("plugin/audio/individualAudio?" + shown[0]["query"] + "&").startswith(b"RIFF")


@pytest.mark.parametrize("plugin", ["histograms", "distributions"])
def test_histograms_and_distributions(fetch, plugin):
    until(lambda: str(fetch(f"plugin/{plugin}/tags")), lambda found: "weights" in found)
    shown = plain(fetch(f"plugin/{plugin}/{plugin}", run="tensorboard", tag="weights"))
    assert [one[1] for one in shown] == [0, 1, 2]
    if plugin == "histograms":
        assert sum(count for _, _, count in shown[0][2]) == pytest.approx(5000)


def test_text(fetch):
    until(lambda: str(fetch("plugin/text/tags")), lambda found: "words" in found)
    shown = plain(fetch("plugin/text/text", run="tensorboard", tag="words"))
    assert [one["text"] for one in shown] == [f"<p><strong>step {step}</strong></p>" for step in range(3)]


def test_mesh(fetch):
    tags = until(lambda: plain(fetch("plugin/mesh/tags")), lambda found: "cloud" in str(found))
    assert tags["tensorboard"]["cloud"]["samples"] == 1
    shown = plain(fetch("plugin/mesh/meshes", run="tensorboard", tag="cloud", sample=0))
    assert {(one["content_type"], tuple(one["data_shape"])) for one in shown} >= {(1, (1, 9, 3)), (2, (1, 1, 3))}


def test_scalars_are_beside_them(fetch):
    until(lambda: str(fetch("plugin/scalars/tags")), lambda found: "loss" in found)
    assert [one[1] for one in plain(fetch("plugin/scalars/scalars", run="tensorboard", tag="loss"))] == [0, 1, 2]
