"""The csv destination: what spreadsheets and data frames read back."""

from __future__ import annotations

import csv
import math
import struct

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.destinations.csv import FIXED, Csv
from steno.record import RunInfo, node_name
from steno.testing import make_batch


def deliver(place, *batches, position=None, node=0, **options):
    destination = Csv(**options)
    destination.open(RunInfo(place, "i", "n", "p", position=position, node=node, is_first=not node))
    for batch in batches:
        destination.write(batch)
    destination.close()
    return destination.position


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_one_row_per_record(tmp_path):
    deliver(tmp_path, make_batch([(7, {"loss": 0.1, "acc": 1.0}), (8, {"loss": 1e-9, "acc": 0.5})]))
    assert (tmp_path / "metrics.csv").read_text() == (
        "record,step,time,rank,attempt,acc,loss\n"
        "1,7,2023-11-14T22:13:20.123456789Z,0,1,1.0,0.1\n"
        "2,8,2023-11-14T22:13:20.124456789Z,0,1,0.5,1e-09\n"
    )


def test_new_keys_go_on_in_a_new_file(tmp_path):
    train = [(step, {"loss": float(step)}) for step in range(3)]
    deliver(tmp_path, make_batch([*train, (2, {"val": 9.0}), (3, {"loss": 3.0})]))
    assert names(tmp_path) == ["metrics-2.csv", "metrics.csv"]
    assert [row[1] for row in rows(tmp_path / "metrics.csv")] == ["step", "0", "1", "2"]
    assert [row[4:] for row in rows(tmp_path / "metrics-2.csv")] == [
        ["attempt", "loss", "val"],
        ["1", "", "9.0"],
        ["1", "3.0", ""],
    ]
    frame = pd.concat(pd.read_csv(tmp_path / name) for name in ("metrics.csv", "metrics-2.csv"))
    assert frame["loss"].dropna().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_columns_are_known_again_after_a_restart(tmp_path):
    position = deliver(tmp_path, make_batch([(0, {"a": 1.0}), (1, {'b,\r\n"': 2.0})]))
    position = deliver(tmp_path, make_batch([(2, {"a": 3.0})], first=3, id=2), position=position)
    assert position["number"] == 2
    assert rows(tmp_path / "metrics-2.csv")[0] == [*FIXED, "a", 'b,\r\n"']
    assert rows(tmp_path / "metrics-2.csv")[2][5:] == ["3.0", ""]


def test_floats_come_back_exactly(tmp_path):
    values = [0.1, 1e300, 5e-324, -0.0, math.pi, 1 / 3, 2.0**53, math.inf, -math.inf, math.nan]
    deliver(tmp_path, make_batch([(step, {"a": value}) for step, value in enumerate(values)]))
    got = [float(row[5]) for row in rows(tmp_path / "metrics.csv")[1:]]
    assert [struct.pack("d", one) for one in got] == [struct.pack("d", one) for one in values]
    assert pd.read_csv(tmp_path / "metrics.csv")["a"].tolist()[:9] == values[:9]


def test_what_a_float_cannot_hold(tmp_path):
    deliver(tmp_path, make_batch([(0, {"big": 2**63 + 1, "text": 'say "hi",\nbye', "empty": ""}), (1, {"big": 1.0})]))
    first, second = rows(tmp_path / "metrics.csv")[1:]
    assert first[5:] == ["9223372036854775809", "", 'say "hi",\nbye']
    assert second[5:] == ["1.0", "", ""]
    assert ',"",' in (tmp_path / "metrics.csv").read_text(), "an empty text differs from no value"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=8, unique=True))
def test_any_key_survives_csv_reader(tmp_path_factory, keys):
    place = tmp_path_factory.mktemp("csv")
    deliver(place, make_batch([(0, {key: float(at) for at, key in enumerate(keys)})]))
    header, row = rows(place / "metrics.csv")
    assert dict(zip(header[5:], map(float, row[5:]), strict=True)) == {key: float(at) for at, key in enumerate(keys)}


def test_key_storm_goes_to_the_long_file(tmp_path):
    records = [(step, {"loss": 1.0, f"k{step}": 2.0}) for step in range(500)]
    deliver(tmp_path, make_batch(records[:250]), make_batch(records[250:], first=251, id=2))
    assert len(names(tmp_path)) == 21
    long = rows(tmp_path / "metrics-long.csv")
    assert long[0] == [*FIXED, "key", "value"]
    assert len(long) == 1 + 480
    assert sum(len(rows(tmp_path / name)) - 1 for name in names(tmp_path) if "long" not in name) == 500
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < 500 * 150


def test_too_many_keys_go_to_the_long_file(tmp_path):
    deliver(tmp_path, make_batch([(0, {f"k{at}": 1.0 for at in range(1001)}), (1, {"loss": 1.0})]))
    assert len(rows(tmp_path / "metrics-long.csv")) == 1002
    assert rows(tmp_path / "metrics.csv")[1][5:] == ["1.0"]


def test_long_format(tmp_path):
    deliver(tmp_path, make_batch([(0, {"b": 1.0, "a": "x"}), (1, {"b": 2.0})]), format="long")
    assert names(tmp_path) == ["metrics-long.csv"]
    assert [row[5:] for row in rows(tmp_path / "metrics-long.csv")[1:]] == [["a", "x"], ["b", "1.0"], ["b", "2.0"]]


def test_each_node_has_files_of_its_own(tmp_path):
    deliver(tmp_path, make_batch([(0, {"a": 1.0})]))
    deliver(tmp_path, make_batch([(0, {"a": 1.0}), (1, {"b": 1.0})], node=3), node=3)
    assert names(tmp_path) == [f"metrics-node-{node_name(3)}-2.csv", f"metrics-node-{node_name(3)}.csv", "metrics.csv"]
    assert rows(tmp_path / f"metrics-node-{node_name(3)}.csv")[1][0] == "1"


@pytest.mark.parametrize(
    "damage", ["foreign line", "foreign bytes", "cut row", "cut header", "gone", "moved while open"]
)
def test_damage_by_others_loses_none_of_ours(tmp_path, damage):
    batches = [make_batch([(step, {"a": float(step)})], id=step + 1, first=step + 1) for step in range(4)]
    path = tmp_path / "metrics.csv"
    destination = Csv()
    destination.open(RunInfo(tmp_path, "i", "n", "p"))
    for batch in batches[:2]:
        destination.write(batch)
    if damage != "moved while open":
        destination.close()
    whole = path.read_text()
    if damage == "foreign line":
        path.write_text(whole + "# a remark\n")
    elif damage == "foreign bytes":
        path.write_text(whole + "# a remark")
    elif damage == "cut row":
        path.write_text(whole[:-9])
    elif damage == "cut header":
        path.write_text(whole[:9])
    else:
        path.rename(tmp_path / "elsewhere")
    if damage != "moved while open":
        position = destination.position
        destination = Csv()
        destination.open(RunInfo(tmp_path, "i", "n", "p", position=position))
    for batch in batches[2:]:
        destination.write(batch)
    destination.close()
    found = rows(tmp_path / ("metrics-2.csv" if damage == "cut header" else "metrics.csv"))
    assert found[0] == [*FIXED, "a"]
    assert [row[5] for row in found if row[1:2] and row[1] in {"2", "3"} and len(row) == 6] == ["2.0", "3.0"]


@pytest.mark.parametrize("options", [{"format": "wild"}, {"max_columns": -1}, {"max_columns": "9"}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"format is|max_columns is"):
        Csv(**options)
