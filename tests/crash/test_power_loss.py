"""A power loss at any step of a posting, a sealing and an end: what was on the disk is there after, and nothing twice."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import steno
from durable_recorder import ALL, LOST, Loss, Recorder, drawn
from nodes import part_name
from steno import files
from steno.capture.recorder import Recorder as Writer
from steno.collector.service import Service
from steno.journal import place

DRAWS = int(os.environ.get("STENO_POWER_LOSSES", "1"))
"""Power losses at each step where names, bytes and postings fare as the dice have it; more than one: all plain ones too."""
PLAIN = [
    LOST,
    Loss(names=True, bytes=False, ledger=True),
    Loss(names=False, bytes=True, ledger=True),
    Loss(names=True, bytes=True, ledger=False),
]
AT_ONCE = 4
RECORDS = 300


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_SEGMENT_BYTES", "65536")
    run_dir = tmp_path / "before" / "p" / "r"
    (run_dir / ".steno" / "attempts").mkdir(parents=True)
    files.write_json(run_dir / ".steno" / "attempts" / "0001.json", {"attempt": 1, "rewind": None})
    files.write_json(run_dir / "run.json", {"id": "r", "name": "r", "project": "p"})
    return run_dir


def write(run_dir, first):
    """Records in several segments, and an image, by a process that has ended."""
    writer = Writer(run_dir, run_id="r", report=lambda key, message: pytest.fail(f"{key}: {message}"))
    for i in range(first, first + RECORDS):
        writer.log({"x": float(i), "word": f"{i}" * 150}, i)
    writer.log({"image": steno.Image(picture(first))}, first)
    writer.close()


def picture(first):
    return np.full((64, 64, 3), first % 251, np.uint8)


def collect(run_dir):
    assert Service(run_dir, once=True).run() == 0


def whole(run_dir, records, *, images):
    """Each record is there once, and the first images, as they were logged."""
    with warnings.catch_warnings(), steno.open(run_dir) as book:
        warnings.simplefilter("error")
        assert sorted(book.series("x").value.tolist()) == [float(i) for i in range(records)]
        assert len(book.series("word").record) == records
        shown = book.media("image")
        assert [item.step for item in shown] == list(range(0, records, RECORDS))
        for item in shown[:images]:
            assert np.array_equal(item.value, picture(item.step))
        assert book.info.losses == ()
    assert len([name for name in os.listdir(run_dir) if name.startswith("card-")]) == 1  # a card for each node


def survived(recorder, tmp_path, records):
    """How many different power losses there were; each of them must leave the run whole."""
    states = list(recorder.states([*(ALL if DRAWS > 1 else PLAIN), *map(drawn, range(DRAWS))]))

    def go_on(number, step, loss):
        after = recorder.power_loss(step, tmp_path / f"after-{number}" / "p" / "r", loss)
        collect(after)
        return after

    failures = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        afterwards = [pool.submit(go_on, number, *state) for number, state in enumerate(states)]
    for (step, loss), after in zip(states, afterwards, strict=True):
        # The last second may be lost of a value whose posting was not synced yet.
        images = records // RECORDS - (step <= synced(recorder))
        try:
            whole(after.result(), records, images=images)
        except Exception as error:
            failures.append(f"{loss} after {step} steps, before {recorder.steps[step:][:1]}: {error!r}")
    assert not failures, "\n".join([f"{len(failures)} of {len(states)}", *failures[:10], *map(str, recorder.steps)])
    return len(states)


def synced(recorder):
    """The step that syncs the first posting: where the machine is busy, the new ledger itself is synced before it."""
    media = [number for number, step in enumerate(recorder.steps) if str(step).startswith("fsync media/")]
    whole_ones = [number for number in media if not recorder.steps[number].path.endswith(".part")]
    return recorder.index("fsync *-wal", whole_ones[0])


def ledger(run_dir):
    return run_dir / ".steno" / "nodes" / "*" / place.LEDGER


def test_a_power_loss_at_any_step_of_a_whole_collection(run_dir, tmp_path):
    write(run_dir, 0)
    with Recorder(run_dir, ledger=ledger(run_dir)) as recorder:
        collect(run_dir)
    whole(run_dir, RECORDS, images=1)
    assert survived(recorder, tmp_path, RECORDS) > 50


def test_a_power_loss_at_any_step_when_a_run_that_had_ended_goes_on(run_dir, tmp_path):
    """With parts, a manifest and a ledger from before; small parts are merged."""
    write(run_dir, 0)
    collect(run_dir)
    write(run_dir, RECORDS)
    with Recorder(run_dir, ledger=ledger(run_dir)) as recorder:
        collect(run_dir)
    recorder.index(f"unlink {part_name(run_dir)}")
    whole(run_dir, 2 * RECORDS, images=2)
    assert survived(recorder, tmp_path, 2 * RECORDS) > 50


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO][:DRAWS])
def test_a_disk_that_fails_once_at_any_step_costs_nothing(run_dir, tmp_path, monkeypatch, error):
    monkeypatch.setattr("steno.collector.service._DISK_SECS", 0.01)
    monkeypatch.setattr("steno.ledger.spool._PAUSE_SECS", 0.01)
    write(run_dir, 0)
    for number in itertools.count():
        after = tmp_path / f"failed-{number}" / "p" / "r"
        shutil.copytree(run_dir, after)
        with Recorder(after, fail_at=number, error=error) as recorder, contextlib.suppress(OSError):
            Service(after, once=True).run()
        collect(after)
        whole(after, RECORDS, images=1)
        if not recorder.has_failed:
            break
    assert number > 20
