"""The destination `swanlab` with the real package, offline: what its run files hold, by its own reader and messages."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

import pytest
from foreign_runs import Points, compare, health, plain_run, points, record, replay, stopped, sync

from steno.destinations import registry
from steno.destinations.services._swanlab import AXIS, metric_name
from steno.errors import DestinationError
from steno.record import RunInfo
from steno.testing import check_destination

pytest.importorskip("swanlab", reason="pip install 'stenolog[swanlab]'")
store = pytest.importorskip("swanlab.sdk.internal.core_python.store")
pb = pytest.importorskip("swanlab.proto.swanlab.record.v1.record_pb2")

pytestmark = pytest.mark.filterwarnings("ignore")  # its own, about its own parts
LONG = bool(os.environ.get("STENO_LONG_TESTS"))
OFFLINE = {"mode": "offline"}


def logged(run_dir: Path) -> list:
    found = []
    for path in sorted(run_dir.glob("swanlog/run-*/run-*.swanlab")):
        reader = store.DataStoreReader()
        with contextlib.suppress(AssertionError, store.DataStoreError):  # torn by the exam
            reader.open(path)
            while (data := reader.scan()) is not None:
                found.append(pb.Record.FromString(data))
        reader.close()
    return found


def read(run_dir: Path) -> Points:
    """Points, by the step that stands in their row; of one key's at one of SwanLab's steps it keeps one."""
    kept = {(one.scalar.key, one.scalar.step): one for one in logged(run_dir) if one.HasField("scalar")}
    records = list(kept.values())
    steps = {one.scalar.step: one.scalar.value.number for one in records if one.scalar.key == AXIS}
    last = 2**63 - 1  # the axis is a float64
    return [
        (min(int(steps[one.scalar.step] // 1), last), one.scalar.key, one.scalar.value.number)
        for one in records
        if one.HasField("scalar") and one.scalar.key != AXIS
    ]


def numbers(run_dir: Path) -> Points:
    return [
        (step, metric_name(key), float(value)) for step, key, value in points(run_dir) if not isinstance(value, str)
    ]


@pytest.mark.skipif(not LONG, reason="a minute: scripts/test-integrations swanlab")
@pytest.mark.timeout(300)
def test_it_passes_the_exam():
    def read_exam(run: RunInfo) -> Points:
        found = read(run.dir)
        return [(step, key.split("/", 1)[1] if key.startswith("rank-") else key, value) for step, key, value in found]

    make = lambda: registry.create("swanlab", OFFLINE)  # noqa: E731
    assert len(check_destination(make, read=read_exam, once=LONG, named=metric_name, kept_as=float)) >= 14


def test_a_run_with_everything(tmp_path):
    run_dir = record(tmp_path, "swanlab", OFFLINE)
    compare(numbers(run_dir), read(run_dir))
    media = {one.media.key for one in logged(run_dir) if one.HasField("media")}
    left_out = {"mesh": 1, "histogram": 1, "table": 1, "artifact": 2}
    if importlib.util.find_spec("soundfile") is None:
        left_out["audio (ImportError)"] = 1
    assert media == {"image", "page", "text", "words"} | (set() if "audio (ImportError)" in left_out else {"sound"})
    assert health(run_dir, "swanlab")["left_out"] == left_out
    (begun,) = (one.start for one in logged(run_dir) if one.HasField("start"))
    assert (begun.name, begun.project, begun.group, begun.description, list(begun.tags)) == (
        "r",
        "p",
        "g",
        "words",
        ["one"],
    )
    (config,) = run_dir.glob("swanlog/run-*/files/config.yaml")
    text = config.read_text()
    assert all(word in text for word in ("lr", "0.5", "more", "7", "summary/best", "0.25")), text
    before = len(read(run_dir))
    for _ in range(2):
        replay(run_dir, "swanlab", OFFLINE)
        assert len(read(run_dir)) == before


@pytest.mark.skipif(not LONG, reason="half a minute: scripts/test-integrations swanlab")
def test_a_finished_run_is_synced_into_it_once(tmp_path):
    run_dir = plain_run(tmp_path)
    for _ in range(2):
        assert "swanlab is complete" in sync(run_dir, "swanlab", mode="offline")
        compare(numbers(run_dir), read(run_dir))


def test_options_are_checked_at_once():
    with pytest.raises(DestinationError, match="SWANLAB_API_KEY") as caught:
        registry.normalise(("swanlab", {"api_key": "abcdef123456"}))
    assert "abcdef" not in str(caught.value)
    with pytest.raises(DestinationError, match="is relative"):
        registry.normalise(("swanlab", {"dir": "here"}))
    with pytest.raises(DestinationError, match="mode is 'online' or 'offline'"):
        registry.normalise(("swanlab", {"mode": "lcoal"}))


@pytest.mark.skipif(not LONG, reason="ten seconds: scripts/test-integrations swanlab")
def test_without_an_account_it_stops_and_says_what_to_set(tmp_path):
    assert "SWANLAB_API_KEY" in stopped(tmp_path, "swanlab")
