"""Odd values, keys and steps through the whole chain: exact in the store and in every file, or refused with one report."""

from __future__ import annotations

import csv
import json
import math
import struct
import sys

import numpy as np
import pytest
from besieged import no_collector
from run_programs import no_further_run
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

import steno

FLOATS = (
    math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, -5e-324, 2.2250738585072014e-308, sys.float_info.max,
    -sys.float_info.max, math.nextafter(1.0, 2.0), 0.1, 1 / 3, 2.0**53, 1e22,
)  # fmt: skip
INTS = (0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**40)
KEYS = (
    "../up", "../../../etc/passwd", "/absolute", "a/../../b", "..", ".", "line\nbreak", 'tab\tquote"comma,', "ключ/損失/🜂", "e\u0301",
    "k" * 10_000, "null\0byte", " lead and trail ", "rank-1", "%s{}$HOME`id`", "\ufeffbom", "\u202eright to left",
)  # fmt: skip
SCALARS = (
    *(np.dtype(kind).type(value) for kind in ("int8", "int16", "int32", "int64") for value in (np.iinfo(kind).min, -1, np.iinfo(kind).max)),
    *(np.dtype(kind).type(np.iinfo(kind).max) for kind in ("uint8", "uint16", "uint32", "uint64")),
    *(np.dtype(kind).type(0.1) for kind in ("float16", "float32", "float64")),
    np.float32(1e-45), np.float16(6e-8), np.bool_(True), True, False,
)  # fmt: skip


def bits(value: float) -> bytes:
    """NaN equals NaN, and -0.0 is not 0.0."""
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


def exact(series, place: int):
    """The value at one place of a series, as the int or text it was where a float cannot hold it."""
    if series.text is not None and series.text[place] is not None:
        return series.text[place]
    if series.exact is not None and series.exact[place] is not None:
        return series.exact[place]
    return series.value[place].item()


def same(got: object, wanted: object) -> bool:
    if isinstance(wanted, float) or isinstance(got, float):
        return bits(float(got)) == bits(float(wanted)) and int(wanted if math.isfinite(wanted) else 0) == int(
            got if math.isfinite(got) else 0
        )
    return got == wanted


@pytest.fixture
def finished(tmp_path, capsys):
    """A function that logs records (key, value, step), finishes the run, and opens it."""

    def go(*records: tuple[str, object, int | None]):
        run = steno.init("p", "a", dir=tmp_path / "runs", destinations=["tensorboard", "csv", ("jsonl", {})])
        for key, value, step in records:
            run.log({key: value, "beside": 1.5}, step)
        assert run.finish(60), run.health()
        no_further_run()
        no_collector(tmp_path)
        return steno.open(run.dir)

    yield go
    if steno.current() is not None:
        steno.current().finish(0)


def jsonl(book) -> list[dict]:
    return [json.loads(line) for line in (book.dir / "metrics.jsonl").read_text().split("\n") if '"values"' in line]


def tensors(book) -> dict[str, list]:
    out: dict[str, list] = {}
    for path in sorted((book.dir / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                out.setdefault(value.tag, []).append((event.step, tensor_util.make_ndarray(value.tensor)))
    return out


def test_floats_and_integers_are_exact_in_the_store_and_in_files(finished, capsys):
    values = (*FLOATS, *INTS)
    book = finished(*(("v", value, step) for step, value in enumerate(values)))
    assert capsys.readouterr().err == ""
    series = book.series("v")
    assert series.step.tolist() == [*range(len(values))]
    for place, value in enumerate(values):
        assert same(exact(series, place), value), value
    lines = jsonl(book)
    assert len(lines) == len(values)
    for line, value in zip(lines, values, strict=True):
        got = line["values"]["v"]
        if isinstance(value, float) and not math.isfinite(value):
            got = float(got)  # JSON has no word for it
        assert same(got, value), (line, value)
    with open(book.dir / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("v")]
    assert len(rows) == len(values)
    for row, value in zip(rows, values, strict=True):
        got = float(row["v"]) if "." in row["v"] or isinstance(value, float) else int(row["v"])
        assert same(got, value), (row, value)
    points = tensors(book)["v"]
    assert [step for step, _ in points] == [*range(len(values))]
    for (_, got), value in zip(points, values, strict=True):
        with np.errstate(all="ignore"):
            assert bits(float(got)) == bits(float(np.float32(float(value)))), (got, value)


def test_scalars_of_numpy_and_booleans(finished):
    book = finished(*((f"s{number}", value, number) for number, value in enumerate(SCALARS)))
    for number, value in enumerate(SCALARS):
        series = book.series(f"s{number}")
        assert same(exact(series, 0), value.item() if isinstance(value, np.generic) else value)
        assert series.step.tolist() == [number]


def test_odd_keys_are_names_and_never_paths(finished, tmp_path):
    before = {path for path in tmp_path.rglob("*") if "runs" not in path.parts}
    book = finished(*((key, float(number), number) for number, key in enumerate(KEYS)))
    assert {path for path in tmp_path.rglob("*") if "runs" not in path.parts} == before
    assert set(book.keys()) == {*KEYS, "beside"}
    for number, key in enumerate(KEYS):
        series = book.series(key)
        assert (series.step.tolist(), series.value.tolist()) == ([number], [float(number)])
    assert [key for line in jsonl(book) for key in line["values"] if key != "beside"] == [*KEYS]
    for path in book.dir.rglob("*"):
        assert not path.is_symlink()
        assert path.name not in KEYS
    tags = tensors(book)
    assert sum(tag != "beside" for tag in tags) == len(KEYS)


def test_a_text_of_ten_megabytes(finished):
    text = "".join(chr(0x20 + i % 0x300) for i in range(10_000)) * 700
    book = finished(("before", 1.0, 0), ("text", text, 1), ("after", 2.0, 2))
    assert len(text.encode()) > 10_000_000
    assert book.series("text").text[0] == text
    assert [line["values"].get("text") for line in jsonl(book)] == [None, text, None]
    assert book.series("beside").step.tolist() == [0, 1, 2]


def test_extreme_steps_are_kept(finished):
    steps = [0, 2**63 - 1, -1, -(2**63), 7, 7, 2**53 + 1]
    book = finished(*(("v", float(place), step) for place, step in enumerate(steps)))
    series = book.series("v")
    assert sorted(series.step.tolist()) == sorted(steps)
    assert series.value[series.step.tolist().index(-(2**63))] == 3.0
    assert [line["step"] for line in jsonl(book)] == steps


def test_what_cannot_be_recorded_is_said_once_and_its_neighbours_are_kept(finished, capsys):
    bad = (object(), None, {}, complex(1, 2), lambda: 0, b"\xff", [])
    book = finished(*((f"bad{number}", value, step) for step in range(3) for number, value in enumerate(bad)))
    said = capsys.readouterr().err
    noted = [loss.name for loss in book.info.losses]
    for number in range(len(bad)):
        # By the process at the call, or by the collector where the call cannot see it for its speed.
        assert said.count(f"'bad{number}' was left out") + noted.count(f"bad{number}") == 1, (number, said, noted)
    assert book.series("beside").value.tolist() == [1.5] * 3 * len(bad)
    assert book.keys() == ["beside"]


def test_a_step_that_is_none_keeps_the_record_under_an_automatic_one(finished, capsys):
    steps = ("3", 1.5, object(), 2**63, [1], -(2**63) - 1)
    book = finished(*((f"v{number}", 1.0, step) for number, step in enumerate(steps)))
    assert [book.series(f"v{number}").step.tolist() for number in range(len(steps))] == [[0], [1], [2], [3], [4], [5]]
    said = len(capsys.readouterr().err.splitlines())
    assert said >= 1
    assert said + [loss.name for loss in book.info.losses].count("step") <= len(steps)
