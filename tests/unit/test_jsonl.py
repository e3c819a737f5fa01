"""The jsonl destination: each line is a record or an entry."""

from __future__ import annotations

import json
import math

import pytest

from steno.destinations.jsonl import Jsonl
from steno.record import Entry, Ref, RunInfo, node_name
from steno.testing import make_batch


def deliver(place, *batches, position=None, node=0, **options):
    destination = Jsonl(**options)
    destination.open(RunInfo(place, "i", "n", "p", position=position, node=node, is_first=not node))
    for batch in batches:
        destination.write(batch)
    destination.close()
    return destination.position


def lines(place, name="metrics.jsonl"):
    return [json.loads(line) for line in (place / name).read_bytes().split(b"\n")[:-1]]


def test_a_line_per_record(tmp_path):
    deliver(tmp_path, make_batch([(7, {"b": 0.1, "a": 1.0})]))
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"record":1,"step":7,"time":"2023-11-14T22:13:20.123456789Z","rank":0,"attempt":1,"values":{"a":1.0,"b":0.1}}\n'
    )


def test_what_json_has_not(tmp_path):
    values = {
        "nan": math.nan,
        "inf": math.inf,
        "ninf": -math.inf,
        "zero": -0.0,
        "big": 2**80,
        "text": 'λ\n"',
        "tiny": 5e-324,
    }
    deliver(tmp_path, make_batch([(0, {**values, "image": Ref("d" * 64, "image", {"w": 1})}), (1, {"nan": math.nan})]))
    first, second = lines(tmp_path)
    assert first["values"] == {
        **values, "nan": "NaN", "inf": "Infinity", "ninf": "-Infinity", "image": {"ref": "d" * 64, "kind": "image"}
    }  # fmt: skip
    assert math.copysign(1, first["values"]["zero"]) == -1
    assert second["values"] == {"nan": "NaN"}


def test_entries_stand_where_they_happened(tmp_path):
    entries = [
        Entry(
            11, 1_700_000_000_000_000_001, None, 0, 1, "event", {"name": "epoch", "loss": math.nan, "at": [1, math.inf]}
        ),
        Entry(14, 1_700_000_000_000_000_002, 3, 1, 2, "note", {"text": "end"}),
    ]
    batch = make_batch([(0, {"a": 1.0}), (1, {"a": 2.0}), (2, {"a": 3.0})], first=10, entries=entries)
    deliver(tmp_path, batch)
    found = lines(tmp_path)
    assert [one["record"] for one in found] == [10, 11, 11, 12, 14]
    assert found[1] == {
        "record": 11, "step": None, "time": "2023-11-14T22:13:20.000000001Z", "rank": 0, "attempt": 1,
        "kind": "event", "payload": {"name": "epoch", "loss": "NaN", "at": [1, "Infinity"]},
    }  # fmt: skip


def test_entries_can_be_left_out():
    assert Jsonl(entries=False).kinds == {"points"}
    assert "event" in Jsonl().kinds
    with pytest.raises(TypeError, match="True or False"):
        Jsonl(entries="no")


def test_each_node_has_a_file_of_its_own(tmp_path):
    deliver(tmp_path, make_batch([(0, {"a": 1.0})], node=2), node=2)
    assert len(lines(tmp_path, f"metrics-node-{node_name(2)}.jsonl")) == 1


def test_foreign_bytes_are_stepped_over_on_a_fresh_line(tmp_path):
    position = deliver(tmp_path, make_batch([(0, {"a": 1.0})]))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b"foreign")
    second = make_batch([(1, {"a": 2.0})], id=2, first=2)
    deliver(tmp_path, second, position=position)
    deliver(tmp_path, second, position=position)  # the crash came before the cursor was saved
    text = path.read_text().splitlines()
    assert [line.split(",")[1] if line.startswith("{") else line for line in text] == [
        '"step":0',
        "foreign",
        '"step":1',
    ]


def test_a_level_stands_in_the_line_of_a_record_that_has_one(tmp_path):
    from dataclasses import replace

    batch = make_batch([(0, {"a": 1.0}), (1, {"a": 2.0}), (2, {"a": 3.0})])
    deliver(tmp_path, replace(batch, meta={1: {"level": 3}, 2: {"run": "x"}}))
    first, second, third = lines(tmp_path)
    assert list(second) == ["record", "step", "time", "rank", "attempt", "level", "values"]
    assert second["level"] == 3
    assert "level" not in first
    assert "level" not in third
