"""All built-in destinations pass the exam, and the exam finds bad ones."""

from __future__ import annotations

import csv
import json
import math

import pytest

from steno.destinations import registry
from steno.record import RunInfo
from steno.testing import ExamError, MemoryDestination, check_destination


def read_tensorboard(run: RunInfo):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    for path in sorted(run.dir.rglob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found = tensor_util.make_ndarray(value.tensor).item()
                yield event.step, value.tag, found.decode() if isinstance(found, bytes) else found


def number_or_text(cell: str):
    try:
        return int(cell)
    except ValueError:
        try:
            return float(cell)
        except ValueError:
            return cell


def read_csv(run: RunInfo):
    for path in sorted(run.dir.glob("metrics*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if "long" in path.name:
                    yield int(row["step"]), row["key"], number_or_text(row["value"])
                    continue
                for key, cell in list(row.items())[5:]:
                    # the csv module cannot tell "" from nothing; the empty text is tested apart
                    if cell != "":
                        yield int(row["step"]), key, number_or_text(cell)


def read_jsonl(run: RunInfo):
    for line in (run.dir / "metrics.jsonl").read_text().splitlines():
        found = json.loads(line)
        for key, value in found.get("values", {}).items():
            odd = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
            yield found["step"], key, odd.get(value, value) if isinstance(value, str) else value


BUILT_IN = {
    "tensorboard": ({}, read_tensorboard),
    "csv": ({}, read_csv),
    "csv long": ({"format": "long"}, read_csv),
    "csv narrow": ({"max_columns": 4}, read_csv),
    "jsonl": ({}, read_jsonl),
    "jsonl points": ({"entries": False}, read_jsonl),
}


@pytest.mark.parametrize("case", BUILT_IN)
def test_built_in_destination_passes(case):
    options, read = BUILT_IN[case]
    passed = check_destination(lambda: registry.create(case.split()[0], options), read=read)
    assert "a torn write is completed" in passed
    assert len(passed) == 16


def test_console_passes():
    passed = check_destination(lambda: registry.create("console", {}))
    assert len(passed) == 13
    assert "another thread may use it" in passed


def test_memory_passes():
    kept = []

    def factory():
        kept.append(MemoryDestination())
        return kept[-1]

    def read(run):
        for one in kept:
            if one.run and one.run.dir == run.dir:
                yield from ((r.step, k, v) for r in one.records() for k, v in r.values.items())

    check_destination(factory, read=read, once=False)


class Lines:
    """A destination that a test spoils: step, key and value by line."""

    def __init__(self):
        self.file = None

    def open(self, run):
        self.file = (run.dir / "lines.jsonl").open("a")

    def write(self, batch):
        for record in batch.records():
            for key, value in record.values.items():
                text = value if isinstance(value, float | int | str) else str(value)
                self.file.write(json.dumps([record.step, key, text]) + "\n")
        self.file.flush()

    def flush(self):
        pass

    def close(self):
        if self.file:
            self.file.close()


def read_lines(run):
    for line in (run.dir / "lines.jsonl").read_text().splitlines():
        yield json.loads(line)


def spoiled(**methods):
    return type("Spoiled", (Lines,), methods)


def test_plain_lines_pass_only_as_at_least_once():
    check_destination(Lines, read=read_lines, once=False)
    with pytest.raises(ExamError, match=r"crash is delivered once: .*delivered 2 times"):
        check_destination(Lines, read=read_lines)


def drop_negative(self, batch):
    from dataclasses import replace

    Lines.write(self, replace(batch, step=abs(batch.step)))


def close_twice_raises(self):
    self.file.close()
    self.file = None


@pytest.mark.parametrize(
    ("methods", "why"),
    [
        ({"write": lambda self, batch: None}, "a batch is delivered.*"),
        ({"write": drop_negative}, "any step is kept: .*step -1 "),
        ({"close": close_twice_raises}, "close may be called again"),
        ({"kinds": {"points"}}, "not a frozenset"),
        ({"kinds": frozenset({"metrics"})}, "unknown"),
        ({"flush": lambda self: 1 / 0}, "flush may be called at any time: ZeroDivisionError"),
        ({"position": {"a": object()}}, "not JSON serializable"),
        ({"position": {1: 2}}, "survive JSON"),
        ({"write": lambda self, batch: batch.value.sort()}, "read-only"),
    ],
)
def test_exam_finds_the_fault(methods, why):
    with pytest.raises(ExamError, match=f"(?s){why}"):
        check_destination(spoiled(**methods), read=read_lines, once=False)


def test_lost_records_are_found_without_once():
    def every_other(self, batch):
        if batch.id % 2:
            Lines.write(self, batch)

    with pytest.raises(ExamError, match="many batches keep their order: .*delivered 0 times"):
        check_destination(spoiled(write=every_other), read=read_lines, once=False)
