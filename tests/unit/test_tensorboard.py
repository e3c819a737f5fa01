"""TensorBoard event files, judged by the real tensorboard package and by a real crash."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.destinations.tensorboard import eventfile
from steno.destinations.tensorboard.destination import TensorBoard
from steno.record import Entry, RunInfo
from steno.testing import make_batch


def run_in(place, **more):
    return RunInfo(Path(place), "run-1", "name", "project", **more)


def deliver(place, *batches, position=None, layout="run"):
    destination = TensorBoard()
    destination.open(run_in(place, position=position, layout=layout))
    for batch in batches:
        destination.write(batch)
    destination.close()
    return destination.position


def accumulated(place):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def events(place):
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for path in sorted(Path(place).glob("events.out.tfevents.*")):
        yield from LegacyEventFileLoader(str(path)).Load()


def test_real_reader_gets_every_value(tmp_path):
    deliver(tmp_path, make_batch([(step, {f"k{key}": step + key / 7 for key in range(20)}) for step in range(300)]))
    found = accumulated(tmp_path / "tensorboard")
    assert sorted(found.Tags()["scalars"]) == sorted(f"k{key}" for key in range(20))
    series = found.Scalars("k3")
    assert [event.step for event in series] == list(range(300))
    assert [event.value for event in series] == [float(np.float32(step + 3 / 7)) for step in range(300)]
    assert series[1].wall_time - series[0].wall_time == pytest.approx(0.001, abs=1e-6)


def test_first_event_says_the_version(tmp_path):
    deliver(tmp_path, make_batch([(0, {"a": 1.0})]))
    first, second = events(tmp_path / "tensorboard")
    assert first.file_version == "brain.Event:2"
    assert first.wall_time == pytest.approx(1_700_000_000.123456)
    assert second.summary.value[0].simple_value == 1.0


def test_bytes_are_those_of_the_real_protobuf():
    from tensorboard.compat.proto.event_pb2 import Event

    batch = make_batch([(step, {"b": 1.5, "a": -step / 3}) for step in (1, 200, 20_000, 2**40, -7)])
    encoded = eventfile.Encoder().encode(batch, batch.splits(), np.arange(5))
    want = b""
    for record in batch.records():
        event = Event(wall_time=record.time / 1e9, step=record.step)
        for key, value in record.values.items():
            event.summary.value.add(tag=key, simple_value=value)
        want += eventfile.frame(event.SerializeToString())
    assert bytes(encoded) == want


def test_checksums_are_those_of_tfrecord():
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    for data in (b"", b"a", b"\x00" * 32, bytes(range(256)) * 5):
        assert eventfile.masked_crc(data) == masked_crc32c(data)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.dictionaries(
                st.sampled_from(["a", "b", "λ/x", "long" * 40, ""]),
                st.one_of(st.floats(), st.integers(-(2**80), 2**80), st.text(max_size=9)),
                max_size=4,
            ),
        ),
        max_size=40,
    ),
    st.data(),
)
def test_encoding_depends_on_the_record_alone(records, data):
    """In one batch, record by record, or as read back from a part: the same bytes."""
    batch = make_batch(records)
    encoder = eventfile.Encoder()
    whole = bytes(encoder.encode(batch, batch.splits(), np.arange(len(batch))))
    one_by_one = b"".join(
        bytes(encoder.encode(batch, batch.splits(), np.array([row], np.int64))) for row in range(len(batch))
    )
    assert whole == one_by_one
    stored = make_batch(records, stored=True)
    assert whole == bytes(eventfile.Encoder().encode(stored, stored.splits(), np.arange(len(stored))))
    cut = data.draw(st.integers(0, len(records)))
    parts = [make_batch(records[:cut]), make_batch(records[cut:], first=cut + 1)]
    assert whole == b"".join(bytes(encoder.encode(part, part.splits(), np.arange(len(part)))) for part in parts)


def test_special_values(tmp_path):
    values = {"nan": math.nan, "inf": math.inf, "ninf": -math.inf, "huge": 1e300, "nhuge": -1e300, "tiny": 5e-324}
    values |= {"zero": -0.0, "big": 2**63, "enormous": 10**400}
    deliver(tmp_path, make_batch([(0, values), (1, {key: values[key] for key in ("nan", "huge", "zero")})]))
    found = accumulated(tmp_path / "tensorboard")
    got = {key: found.Scalars(key)[0].value for key in values}
    assert math.isnan(got.pop("nan"))
    assert got == {
        "inf": math.inf, "ninf": -math.inf, "huge": math.inf, "nhuge": -math.inf,
        "tiny": 0.0, "zero": 0.0, "big": 2.0**63, "enormous": math.inf,
    }  # fmt: skip
    assert math.copysign(1, got["zero"]) == -1
    assert found.Scalars("huge")[1].value == math.inf


def test_text_is_for_the_text_plugin(tmp_path):
    deliver(tmp_path, make_batch([(0, {"loss": 1.0, "note": "hello λ"}), (1, {"note": ""})]))
    found = accumulated(tmp_path / "tensorboard")
    assert found.SummaryMetadata("note").plugin_data.plugin_name == "text"
    first, second = found.Tensors("note")
    assert first.tensor_proto.string_val[0].decode() == "hello λ"
    assert second.tensor_proto.string_val[0] == b""
    assert [event.value for event in found.Scalars("loss")] == [1.0]


def test_strange_tags_and_steps(tmp_path):
    tags = ["λ/損失", "two\nlines", "../up", "k" * 10_000, " "]
    steps = [-1, 0, 2**31, 2**40, 2**63 - 1, -(2**63)]
    deliver(tmp_path, make_batch([(step, dict.fromkeys(tags, 0.5)) for step in steps]))
    found = accumulated(tmp_path / "tensorboard")
    for tag in tags:
        assert [event.step for event in found.Scalars(tag)] == steps


def test_hundred_thousand_keys(tmp_path):
    records = [(block, {f"layer{block}/w{index}": float(index) for index in range(1000)}) for block in range(100)]
    deliver(tmp_path, make_batch(records))
    tags = set()
    for event in events(tmp_path / "tensorboard"):
        for value in event.summary.value:
            tags.add(value.tag)
            assert value.simple_value == int(value.tag.rpartition("w")[2])
    assert len(tags) == 100_000


def test_templates_of_a_key_storm_are_bounded():
    encoder = eventfile.Encoder()
    limit = eventfile._CACHE_BYTES
    eventfile._CACHE_BYTES = 200_000
    try:
        for block in range(40):
            batch = make_batch([(0, {f"{block}/{row}/{key}": 1.0 for key in range(5)}) for row in range(50)])
            encoder.encode(batch, batch.splits(), np.arange(50))
            assert encoder._held_bytes < 250_000
    finally:
        eventfile._CACHE_BYTES = limit


def test_ranks_have_directories_of_their_own(tmp_path):
    records = [(at // 3, {"loss": float(at)}) for at in range(9)]
    deliver(tmp_path, make_batch(records, ranks=[0, 1, 12] * 3))
    for rank, place in ((0, "tensorboard"), (1, "tensorboard/rank-1"), (12, "tensorboard/rank-12")):
        values = [event.value for event in accumulated(tmp_path / place).Scalars("loss")]
        assert values == [float({0: 0, 1: 1, 12: 2}[rank] + 3 * step) for step in range(3)]


def test_logdir_layout_puts_files_in_the_directory_itself(tmp_path):
    deliver(tmp_path, make_batch([(0, {"a": 1.0}), (0, {"a": 2.0})], ranks=[0, 1]), layout="logdir")
    assert len(list(tmp_path.rglob("events.out.tfevents.17*"))) == 1  # of all ranks, as a writer's user expects
    assert len(list(tmp_path.glob("events.*"))) == 1


def start(record, attempt, rewind):
    return Entry(record, 1_700_000_100_000_000_000, None, 0, attempt, "start", {"pid": 1, "rewind": rewind})


def test_rewind_makes_tensorboard_forget(tmp_path):
    position = deliver(tmp_path, make_batch([(step, {"loss": float(step)}) for step in range(10)]))
    again = make_batch(
        [(step, {"loss": 100.0 + step}) for step in range(4, 8)], id=2, first=12, attempt=2, entries=[start(11, 2, 4)]
    )
    deliver(tmp_path, again, position=position)
    series = accumulated(tmp_path / "tensorboard").Scalars("loss")
    assert [(e.step, e.value) for e in series] == [
        *((s, float(s)) for s in range(4)),
        *((s, 100.0 + s) for s in range(4, 8)),
    ]


def test_rewind_makes_the_plugins_reader_forget_too(tmp_path):
    """It takes the first start of a session that it meets for no restart."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    position = deliver(tmp_path, make_batch([(step, {"loss": float(step)}) for step in range(10)]))
    again = make_batch([(4, {"loss": 100.0})], id=2, first=12, attempt=2, entries=[start(11, 2, 4)])
    deliver(tmp_path, again, position=position)
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [event.step for event in found.Tensors(".", "loss")] == [0, 1, 2, 3, 4]


def test_rewind_is_written_once_for_each_rank(tmp_path):
    """Every process of the attempt says it; the later ones must not hide what the first has logged."""
    both = [0, 1]
    position = deliver(tmp_path, make_batch([(9, {"loss": 1.0}), (9, {"loss": 2.0})], ranks=both))
    second = make_batch([(5, {"loss": 3.0})], id=2, first=11, attempt=2, entries=[start(10, 2, 5)])
    third = make_batch(
        [(6, {"loss": 4.0}), (6, {"loss": 5.0})], id=3, first=13, attempt=2, ranks=both, entries=[start(12, 2, 5)]
    )
    position = deliver(tmp_path, second, position=position)
    deliver(tmp_path, third, position=position)
    for rank, want in ((0, [(5, 3.0), (6, 4.0)]), (1, [(6, 5.0)])):
        place = tmp_path / ("tensorboard/rank-1" if rank else "tensorboard")
        assert [(e.step, e.value) for e in accumulated(place).Scalars("loss")] == want
        assert sum(event.HasField("session_log") for event in events(place)) == 2  # the first is taken for a beginning


def test_rewind_in_the_middle_of_a_batch(tmp_path):
    records = [(0, {"a": 1.0}), (1, {"a": 2.0}), (1, {"a": 3.0}), (2, {"a": 4.0})]
    deliver(tmp_path, make_batch(records, first=1, entries=[start(3, 2, 1)]))
    kinds = [event.WhichOneof("what") for event in events(tmp_path / "tensorboard")]
    assert kinds == ["file_version", "summary", "summary", "session_log", "session_log", "summary", "summary"]


def test_same_file_after_a_restart(tmp_path):
    first = make_batch([(0, {"a": 1.0})])
    deliver(tmp_path, first)
    position = deliver(tmp_path, first)  # the crash came before the first cursor was saved
    deliver(tmp_path, make_batch([(1, {"a": 2.0})], id=2, first=2), position=position)
    assert [e.value for e in accumulated(tmp_path / "tensorboard").Scalars("a")] == [1.0, 2.0]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("damage", ["foreign", "cut", "gone"])
def test_damaged_file_is_left_alone_and_a_new_one_begun(tmp_path, damage):
    batches = [make_batch([(step, {"a": float(step)})], id=step + 1, first=step + 1) for step in range(4)]
    position = deliver(tmp_path, *batches[:2])
    (path,) = (tmp_path / "tensorboard").iterdir()
    before = path.read_bytes()
    if damage == "foreign":
        path.write_bytes(before + b"not ours")
    elif damage == "cut":
        path.write_bytes(before[:-5])
    else:
        path.unlink()
    damaged = path.read_bytes() if path.exists() else None
    deliver(tmp_path, *batches[2:], position=position)
    steps = []
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for one in sorted((tmp_path / "tensorboard").iterdir()):
        if one != path or damage == "gone":
            steps += [event.step for event in LegacyEventFileLoader(str(one)).Load() if event.summary.value]
    assert steps == [2, 3]
    if damaged is not None:
        assert path.read_bytes() == damaged


def test_many_ranks_hold_few_descriptors(tmp_path):
    destination = TensorBoard()
    destination.open(run_in(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    for id in range(3):
        batch = make_batch([(id, {"a": 1.0})] * 300, id=id + 1, first=300 * id + 1, ranks=range(300))
        destination.write(batch)
        assert len(os.listdir("/proc/self/fd")) - before <= 64
    destination.close()
    assert len(list(events(tmp_path / "tensorboard/rank-299"))) == 4


KILLED = """
import json, os, sys
from pathlib import Path
from steno.destinations.tensorboard.destination import TensorBoard
from steno.record import RunInfo
from steno.testing import make_batch
place = Path(sys.argv[1])
saved = place / "cursor.json"
cursor = json.loads(saved.read_text()) if saved.exists() else {"batch": 0, "position": None}
destination = TensorBoard()
destination.open(RunInfo(place, "run-1", "n", "p", position=cursor["position"]))
print("ready", flush=True)
for id in range(cursor["batch"], 400):
    records = [(id * 50 + at, {"loss": id + at / 50, **({"note": "x" * at} if at % 7 == 0 else {})}) for at in range(50)]
    destination.write(make_batch(records, id=id + 1, first=id * 50 + 1))
    if id % 3 == 2:
        temporary = place / "cursor.tmp"
        temporary.write_text(json.dumps({"batch": id + 1, "position": destination.position}))
        os.replace(temporary, saved)
destination.close()
"""


def test_killed_at_random_moments_delivers_exactly_once(tmp_path):
    rng = np.random.default_rng(5)
    kills = 0
    for attempt in range(40):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            if attempt < 6:
                time.sleep(float(rng.uniform(0.0, 0.04)))
                process.send_signal(signal.SIGKILL)
            status = process.wait(60)
        kills += status == -signal.SIGKILL
        if status == 0:
            break
    assert kills, "no kill hit"
    got = [event.step for event in events(tmp_path / "tensorboard") if event.summary.value]
    assert got == list(range(20_000))


def test_length_field_counts_the_event(tmp_path):
    """The file's framing, walked by hand."""
    deliver(tmp_path, make_batch([(step, {"a": 1.0}) for step in range(3)]))
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, at, seen = path.read_bytes(), 0, 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        at += 16 + length
        seen += 1
    assert (at, seen) == (len(data), 4)
