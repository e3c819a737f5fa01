"""The text destination: lines for people, Composer's interval rules, nothing truncated."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import re

import numpy as np
import pytest

import steno
from steno.destinations import registry
from steno.destinations.text import TextLog
from steno.errors import DestinationError, Stop
from steno.events.progress import Progress
from steno.events.state import State
from steno.record import Entry, Ref, RunInfo, node_name
from steno.testing import check_destination, make_batch

FIT, EPOCH, BATCH = 1, 2, 3


def deliver(place, *batches, position=None, node=0, name="n", **options):
    destination = TextLog(**options)
    destination.open(RunInfo(place, "i", name, "p", position=position, node=node, is_first=not node))
    with contextlib.closing(destination):
        for batch in batches:
            destination.write(batch)
    return json.loads(json.dumps(destination.position))


def leveled(records, **more):
    """A batch of (step, values, level) records."""
    batch = make_batch([(step, values) for step, values, _ in records], **more)
    meta = {row: {"level": level} for row, (_, _, level) in enumerate(records) if level is not None}
    return dataclasses.replace(batch, meta=meta)


def entry(record, kind, rank=0, **payload):
    return Entry(record, 1_700_000_000_000_000_000, None, rank, 1, kind, payload)


def lines(place, name="logs-rank0.txt"):
    return (place / name).read_text().splitlines()


_HEAD = re.compile(r"\[[A-Z]+\]\[batch=(-?\d+)\]: \{ ")


def read(run):
    """The points of all lines, as the exam wants them."""
    decoder = json.JSONDecoder()
    for path in sorted(run.dir.glob("*.txt")):
        for line in path.read_bytes().decode("utf-8", "surrogatepass").split("\n")[:-1]:
            head = _HEAD.match(line)
            body, at = line[head.end() : -1], 0
            while at < len(body):
                key, at = decoder.raw_decode(body, at)
                at += 2
                if body[at] == '"':
                    value, at = decoder.raw_decode(body, at)
                else:
                    word = body[at : body.index(", ", at)]
                    at += len(word)
                    value = number(word)
                at += 2
                yield int(head[1]), key, value


def number(word):
    try:
        return int(word)
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return word


@pytest.mark.parametrize("mode", ["append", "exclusive"])
def test_it_passes_the_exam(mode):
    assert "a torn write is completed" in check_destination(lambda: TextLog(mode=mode), read=read)


def test_lines_are_composers_with_every_digit(tmp_path):
    deliver(
        tmp_path,
        leveled(
            [
                (0, {"metric": 0.1234, "tiny": 1e-9, "third": 1 / 3}, BATCH),
                (1, {"text": 'a "text"\nof two lines', "big": 2**80, "nan": math.nan}, None),
                (2, {"image": Ref("d" * 64, "image"), "words": Ref("", "text", {"text": "a\nb"})}, FIT),
            ]
        ),
    )
    assert lines(tmp_path) == [
        '[BATCH][batch=0]: { "metric": 0.1234, "third": 0.3333333333333333, "tiny": 1e-09, }',
        f'[BATCH][batch=1]: {{ "big": {2**80}, "nan": nan, "text": "a \\"text\\"\\nof two lines", }}',
        f'[FIT][batch=2]: {{ "image": image:{"d" * 64}, "words": "a\\nb", }}',
    ]


@pytest.mark.parametrize(
    ("log_level", "interval", "fits", "epochs", "batches"),
    [
        ("fit", 1, 1, [], []),
        ("epoch", 1, 1, [0, 1, 2, 3, 4, 5], []),
        (steno.LogLevel.EPOCH, 3, 1, [2, 5], []),
        (3, 1, 1, [0, 1, 2, 3, 4, 5], list(range(18))),
        ("batch", 3, 1, [0, 1, 2, 3, 4, 5], [2, 5, 8, 11, 14, 17]),
    ],
)
def test_levels_and_intervals_follow_composers_rules(tmp_path, log_level, interval, fits, epochs, batches):
    records, entries = [(0, {"fit": 1.0}, FIT)], []
    for epoch in range(6):
        for batch in range(3 * epoch, 3 * epoch + 3):
            entries.append(
                entry(len(records) + len(entries) + 1, "event", name="batch_start", batch=batch, epoch=epoch)
            )
            records.append((1000 + batch, {"batch": float(batch)}, None))
        records.append((1000 + batch, {"epoch": float(epoch)}, EPOCH))
    taken = {one.record for one in entries}
    numbers = [number for number in range(1, 100) if number not in taken][: len(records)]
    batch = dataclasses.replace(leveled(records, entries=entries), record=np.array(numbers, np.int64))
    deliver(tmp_path, batch, log_level=log_level, log_interval=interval)
    found = lines(tmp_path)
    assert sum(line.startswith("[FIT]") for line in found) == fits
    assert [float(line.split()[3][:-1]) for line in found if line.startswith("[EPOCH]")] == epochs
    assert [float(line.split()[3][:-1]) for line in found if line.startswith("[BATCH]")] == batches


def test_batch_and_epoch_come_from_the_ranks_own_events_and_outlive_a_restart(tmp_path):
    told = [
        entry(1, "event", name="epoch_start", epoch=4, batch=7),
        entry(1, "event", rank=1, name="batch_start", batch="no number"),
        entry(1, "event", rank=2, name="the program's own", batch=9),
    ]
    records = [(50, {"a": 1.0}), (51, {"a": 2.0}), (52, {"a": 3.0})]
    position = deliver(tmp_path, make_batch(records, first=2, ranks=[0, 1, 2], entries=told))
    deliver(tmp_path, make_batch([(53, {"a": 4.0})], first=5, id=2), position=position)

    assert lines(tmp_path) == ['[BATCH][batch=7]: { "a": 1.0, }', '[BATCH][batch=7]: { "a": 4.0, }']
    assert lines(tmp_path, "logs-rank1.txt") == ['[BATCH][batch=0]: { "a": 2.0, }']
    assert lines(tmp_path, "logs-rank2.txt") == ['[BATCH][batch=52]: { "a": 3.0, }'], "no loop: the record's step"


@pytest.mark.parametrize("seed", range(3))
def test_batch_and_epoch_are_those_of_the_state_that_callbacks_are_given(tmp_path, seed):
    generator = random.Random(seed)
    names = (
        "fit_start",
        "epoch_start",
        "batch_start",
        "batch_end",
        "epoch_end",
        "eval_start",
        "eval_batch_end",
        "predict_after_forward",
    )
    progress = Progress(State("n"))
    entries, records = [entry(1, "event", name="epoch_start"), entry(2, "event", name="batch_start")], []
    for at in range(3, 300):
        payload = {"name": generator.choice(names)}
        payload |= {one: generator.randrange(100) for one in ("batch", "epoch") if generator.random() < 0.1}
        entries.append(entry(2 * at, "event", **payload))
        records.append(2 * at + 1)
    states = [
        progress.take(steno.Event(one.payload["name"]), one.payload, one.record, one.time).timestamp for one in entries
    ]
    batch = leveled([(0, {"a": 1.0}, BATCH)] * len(records), entries=entries)
    deliver(tmp_path, dataclasses.replace(batch, record=np.array(records, np.int64)))
    destination = TextLog()
    destination.open(RunInfo(tmp_path, "i", "n", "p"))
    for one, state in zip(entries, states, strict=True):
        destination._progress.move(one)
        place = destination._progress.places[0]
        assert (place.batch or 0, place.epoch or 0) == (int(state.batch), int(state.epoch)), one

    said = [int(line.split("batch=")[1].split("]")[0]) for line in lines(tmp_path)]
    assert said == [int(state.batch) for state in states[2:]]


def test_a_late_value_belongs_to_the_batch_of_its_record_also_after_a_restart(tmp_path):
    moves = [entry(10 * at, "event", name="batch_end", batch=at, epoch=at // 4) for at in range(1, 11)]
    first = dataclasses.replace(
        leveled([(500, {"a": float(at)}, None) for at in range(1, 11)], entries=moves),
        record=np.array([10 * at + 5 for at in range(1, 11)], np.int64),
    )
    position = deliver(tmp_path, first, log_interval=4)
    late = make_batch([(500, {"gpu": 3.0})], id=2, first=35)
    early = make_batch([(500, {"gpu": 0.0})], id=3, first=3)
    of_epoch = leveled([(500, {"gpu": 7.0}, EPOCH)], id=4, first=78)
    position = deliver(tmp_path, late, early, of_epoch, log_interval=4, position=position)

    assert lines(tmp_path) == [
        '[BATCH][batch=3]: { "a": 3.0, }',
        '[BATCH][batch=7]: { "a": 7.0, }',
        '[BATCH][batch=3]: { "gpu": 3.0, }',
        '[EPOCH][batch=7]: { "gpu": 7.0, }',
    ], "before the first event the step counted: 500 is no fourth"
    assert len(position["past"]) == 10


def test_printed_lines_stand_among_the_records(tmp_path):
    entries = [
        entry(1, "output", stream="stdout", text="hello"),
        entry(3, "output", stream="stderr", text="two\nlines", left_out=5),
    ]
    deliver(tmp_path, make_batch([(0, {"a": 1.0})], first=2, entries=entries), log_level="fit")
    deliver(tmp_path, make_batch([(0, {"a": 1.0})], first=2, entries=entries), filename="all.txt")
    said = [
        "[stdout]: hello",
        "[stderr]: (5 lines were printed too fast and are left out)",
        "[stderr]: two",
        "[stderr]: lines",
    ]
    assert lines(tmp_path) == said
    assert lines(tmp_path, "all.txt") == [said[0], '[BATCH][batch=0]: { "a": 1.0, }', *said[1:]]


def test_filenames(tmp_path):
    batch = make_batch([(0, {"a": 1.0}), (0, {"a": 2.0})], ranks=[8, 9])
    deliver(tmp_path, batch, node=1)
    deliver(tmp_path, batch, node=1, name="quiet-fox", filename="logs/{run_name}-{node}-{rank:03d}.log")
    deliver(tmp_path, batch, node=1, filename="both")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        f"logs-rank8-node-{node_name(1)}.txt",
        f"logs-rank9-node-{node_name(1)}.txt",
        f"logs/quiet-fox-{node_name(1)}-008.log",
        f"logs/quiet-fox-{node_name(1)}-009.log",
        f"both-node-{node_name(1)}",
    }


def test_append_never_takes_away_what_was_there(tmp_path):
    (tmp_path / "logs-rank0.txt").write_text("an older log\nwithout an end")
    position = deliver(tmp_path, make_batch([(0, {"a": 1.0})]))
    deliver(tmp_path, make_batch([(1, {"a": 2.0})], first=2, id=2), position=position)
    assert lines(tmp_path) == [
        "an older log",
        "without an end",
        '[BATCH][batch=0]: { "a": 1.0, }',
        '[BATCH][batch=1]: { "a": 2.0, }',
    ]


def test_exclusive_refuses_a_file_that_was_there_and_leaves_it(tmp_path):
    other = tmp_path / "logs-rank1.txt"
    other.write_text("theirs\n")
    batch = make_batch([(0, {"a": 1.0}), (0, {"a": 1.0})], ranks=[0, 1])
    with pytest.raises(Stop, match=r"logs-rank1.txt was there before this run \(FileExistsError\)"):
        deliver(tmp_path, batch, mode="exclusive")
    assert other.read_text() == "theirs\n"
    assert not (tmp_path / "logs-rank0.txt").exists() or not (tmp_path / "logs-rank0.txt").read_bytes()


def test_exclusive_knows_its_own_file_after_a_crash_before_the_cursor_was_saved(tmp_path):
    batch = make_batch([(step, {"a": 1.0}) for step in range(3)])
    deliver(tmp_path, batch, mode="exclusive")
    once = (tmp_path / "logs-rank0.txt").read_bytes()
    os.truncate(tmp_path / "logs-rank0.txt", len(once) // 2)
    deliver(tmp_path, batch, mode="exclusive")
    assert (tmp_path / "logs-rank0.txt").read_bytes() == once


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"log_level": "step"}, "'step' is no level: use FIT (1), EPOCH (2), BATCH (3)"),
        ({"log_level": 4}, "4 is no level"),
        ({"log_interval": 0}, "log_interval is a number of epochs or batches from 1 on"),
        ({"mode": "overwrite"}, "mode is 'append' or 'exclusive'"),
        ({"filename": "/tmp/x"}, "under the run's directory"),
        ({"filename": "../x"}, "under the run's directory"),
        ({"filename": "run.json"}, "no place for a log"),
        ({"filename": "metrics/x.txt"}, "no place for a log"),
        ({"filename": "{epoch}.txt"}, "names {epoch}: it may name {node}, {project}, {rank}, {run_name}"),
        ({"filename": "{rank"}, "a literal brace is written twice"),
        ({"level": 1}, "It takes filename, log_level, log_interval, mode"),
    ],
)
def test_a_wrong_option_is_one_clear_error(options, said):
    with pytest.raises(DestinationError, match=re.escape(said)):
        registry.normalise(("text", options))


def test_a_run_writes_it(tmp_path):
    with steno.init(dir=tmp_path, destinations=[("text", {"log_interval": 2})]) as run:
        run.log({"lr": 0.1}, step=0, level=FIT)
        for batch in range(4):
            run.log({"loss": 1 / (batch + 3)}, step=batch)
        run.log({"accuracy": 0.5}, level=EPOCH)
    assert steno.sync(run.dir, timeout=60).complete, "a busy machine may take more than the two seconds of finish"
    assert lines(run.dir) == [
        '[FIT][batch=0]: { "lr": 0.1, }',
        '[BATCH][batch=1]: { "loss": 0.25, }',
        f'[BATCH][batch=3]: {{ "loss": {1 / 6!r}, }}',
        '[EPOCH][batch=4]: { "accuracy": 0.5, }',
    ]
