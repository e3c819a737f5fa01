"""A node's card: what it says is what numpy finds in the exact series, whatever happened to the run."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import steno
from steno.ledger import card
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = ("loss", "acc", "text", "big", "const", "inf")


def summary_of(reader: steno.RunReader) -> dict[str, dict[str, Any]]:
    """What the exact series say, in numpy's words."""
    found = {}
    for key in reader.keys():  # noqa: SIM118
        series = reader.series(key)
        if not len(series):
            continue
        numbers = np.flatnonzero(~np.isnan(series.value))
        row = {"count": len(series), "last": series.exact[-1]}
        row |= {"last_step": int(series.step[-1]), "last_rank": int(series.rank[-1])}
        for end, best in (("min", np.nanargmin), ("max", np.nanargmax)):
            at = best(series.value) if len(numbers) else None
            row[end] = None if at is None else float(series.value[at])
            row[f"{end}_step"] = None if at is None else int(series.step[at])
            row[f"{end}_rank"] = None if at is None else int(series.rank[at])
        found[key] = row
    return found


def same(reader: steno.RunReader) -> None:
    def text(rows: dict[str, dict[str, Any]]) -> str:
        return "\n".join(f"{key} {sorted(row.items())!r}" for key, row in sorted(rows.items()))

    assert text(reader.summary) == text(summary_of(reader))


def record(run: steno.Run, random: np.random.Generator, first: int, count: int, keys: tuple[str, ...] = KEYS) -> None:
    for step in range(first, first + count):
        values: dict[str, Any] = {"loss": float(random.choice([random.normal(), math.nan, 1.0])), "const": 2.5}
        values |= {"acc": float(random.random()), "big": 2**60 + step, "text": steno.Text(f"step {step}")}
        values["inf"] = float(random.choice([math.inf, -math.inf, math.nan, 0.0]))
        chosen = {key: values[key] for key in keys if random.random() < 0.9}
        if chosen:
            run.log(chosen, step=int(step if random.random() < 0.8 else random.integers(0, first + count)))


def cards(run_dir: Path) -> dict[str, card.Card]:
    return card.read(run_dir)


def eventually(holds: Callable[[], bool], secs: float = 60.0) -> bool:
    deadline = time.monotonic() + secs
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ended(run_dir: Path) -> bool:
    return eventually(lambda: bool(cards(run_dir)) and all(one.ended for one in cards(run_dir).values()))


def begin(place: Path, **more: Any) -> steno.Run:
    return steno.init(project="p", name="r", dir=place, config={"lr": 0.1, "nan": math.nan}, tags=["a"], **more)


def test_a_summary_is_what_was_recorded_live_and_ended(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    run = begin(tmp_path)
    reader = steno.open(run.dir)
    for round in range(4):
        record(run, random, round * 50, 50)
        assert run.flush(60)
        same(reader)
        time.sleep(0.4)
    assert eventually(lambda: bool(cards(run.dir)) and next(iter(cards(run.dir).values())).batch > 0)
    same(reader)
    run.summary["best"] = 0.5
    assert run.finish(30)
    assert ended(run.dir)
    with steno.open(run.dir) as again:
        same(again)
        assert again.info.summary == {"best": 0.5}
    one = next(iter(cards(run.dir).values()))
    assert one.is_whole
    assert one.summary == {"best": 0.5}
    assert one.config is not None
    assert one.config["lr"] == 0.1
    assert one.config["nan"] != one.config["nan"]  # noqa: PLR0124 - NaN
    assert (one.identity.project, one.identity.name, one.identity.tags) == ("p", "r", ["a"])
    assert one.ranks == [0]
    assert one.primaries == ["finished"]


def test_an_ended_run_is_summed_up_by_its_card_alone(tmp_path: Path) -> None:
    run = begin(tmp_path)
    record(run, np.random.default_rng(1), 0, 100)
    assert run.finish(30)
    assert ended(run.dir)
    with steno.open(run.dir) as reader:
        wanted = reader.summary
        assert reader.keys() == sorted(wanted)
        for part in (run.dir / "metrics").iterdir():
            part.write_bytes(b"")
        assert repr(reader.summary) == repr(wanted)


def test_a_card_is_replaced_at_most_once_a_second_and_only_when_something_changed(tmp_path: Path) -> None:
    run = begin(tmp_path)
    stamps, began = set(), time.monotonic()
    path: Path | None = None
    step = 0
    while time.monotonic() - began < 4:
        run.log({"x": 1.0}, step=step)
        step += 1
        path = path or next(run.dir.glob("card-*.json"), None)
        if path is not None:
            stamps.add(path.stat().st_mtime_ns)
        time.sleep(0.02)
    assert path is not None
    assert 1 <= len(stamps) <= 6
    assert run.flush(60)
    time.sleep(3)
    before = path.stat().st_mtime_ns
    time.sleep(2.2)
    assert path.stat().st_mtime_ns == before
    assert run.finish(30)


def test_rewinds_ranks_and_attempts(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    run = begin(tmp_path)
    record(run, random, 0, 100)
    assert run.finish(30)
    for attempt, rewind in enumerate((60, 500, 30), 2):
        run = begin(tmp_path, resume=True, rewind=rewind)
        record(run, random, rewind, 40, ("loss", "acc"))
        run.log({f"new{attempt}": 1.0}, step=rewind)
        assert run.flush(60)
        with steno.open(run.dir) as reader:
            same(reader)
            assert reader.info.attempts[-1].rewind == rewind
        assert run.finish(30)
        assert ended(run.dir)
        with steno.open(run.dir) as reader:
            same(reader)
        assert max(one.batch for one in cards(run.dir).values()) > 0


@pytest.mark.parametrize("harm", ["torn", "flipped", "gone", "empty", "of another ledger", "no JSON"])
def test_a_damaged_or_missing_card_is_computed_and_made_again(tmp_path: Path, harm: str) -> None:
    run = begin(tmp_path)
    record(run, np.random.default_rng(3), 0, 60)
    assert run.finish(30)
    assert ended(run.dir)
    path = next(run.dir.glob("card-*.json"))
    with steno.open(run.dir) as reader:
        wanted = repr(reader.summary)
    data = path.read_bytes()
    at = data.index(b'"last_time"') + 14
    harmed = {
        "torn": data[: len(data) // 2], "flipped": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "empty": b"",
        "no JSON": b"\0" * len(data),
    }  # fmt: skip
    if harm == "gone":
        path.unlink()
    elif harm == "of another ledger":
        facts = json.loads(data)
        del facts["crc"]
        path.write_bytes(card.encode({**facts, "ledger": "another", "metrics": {}, "keys": 0}))
    else:
        path.write_bytes(harmed[harm])
    with steno.open(run.dir) as reader:
        assert repr(reader.summary) == wanted
    assert steno.sync(run.dir)
    assert repr({key: vars_of(one) for key, one in cards(run.dir).items()}) == repr(
        {key: vars_of(one) for key, one in {path.name[5:-5]: card.decode(data, card.Card)}.items()}
    )


def vars_of(one: card.Card) -> dict[str, Any]:
    found = {name: getattr(one, name) for name in one.__struct_fields__}
    return {**found, "metrics": dict(sorted(one.metrics.items()))}


def test_more_keys_than_a_card_holds_stand_in_a_table_beside_it(tmp_path: Path) -> None:
    run = begin(tmp_path)
    for step in range(5):
        run.log({f"layer/{number}/norm": float(number * step) for number in range(1000)}, step=step)
    run.log({"text": steno.Text("x" * 100), "odd": 2**70, "image": steno.Histogram(np.arange(9.0))}, step=5)
    assert run.flush(60)
    with steno.open(run.dir) as reader:
        same(reader)
    assert run.finish(30)
    assert ended(run.dir)
    one = next(iter(cards(run.dir).values()))
    assert (one.keys, len(one.metrics)) == (1003, 256)
    assert next(run.dir.glob("card-*.json")).stat().st_size <= card.LARGEST_BYTES
    with steno.open(run.dir) as reader:
        same(reader)
        assert len(reader.keys()) == 1003
        wanted = repr(reader.summary)
        assert isinstance(reader.summary["image"]["last"], Ref)
    table = next(run.dir.glob("summary-*.parquet"))
    data = table.read_bytes()
    for harmed in (data[:-100], b"", data[:2000] + bytes(200) + data[2200:]):
        table.write_bytes(harmed)
        with steno.open(run.dir) as reader:
            assert repr(reader.summary) == wanted
    table.unlink()
    run = begin(tmp_path, resume=True)
    run.log({"layer/7/norm": -1.0}, step=9)
    assert run.finish(30)
    assert ended(run.dir)
    assert table.exists()
    with steno.open(run.dir) as reader:
        same(reader)
        assert reader.summary["layer/7/norm"]["min_step"] == 9


def test_large_configurations_notes_and_names_leave_a_card_small(tmp_path: Path) -> None:
    config = {f"c{number}": "x" * 1000 for number in range(100)}
    run = steno.init(project="p", name="r", dir=tmp_path, config=config, notes="n" * 100_000)
    run.log({f"{'k' * 200}{number}": 0.1 + number for number in range(300)}, step=0)
    run.summary["long"] = "y" * 100_000
    assert run.finish(30)
    assert ended(run.dir)
    path = next(run.dir.glob("card-*.json"))
    assert path.stat().st_size <= card.LARGEST_BYTES
    one = next(iter(cards(run.dir).values()))
    assert (one.config, one.summary, one.identity.name, one.keys) == (None, None, "r", 300)
    with steno.open(run.dir) as reader:
        same(reader)
        assert reader.info.config == config
        assert reader.info.summary == {"long": "y" * 100_000}


def test_a_collector_that_is_killed_again_and_again_leaves_cards_that_are_right(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    run = begin(tmp_path)
    reader = steno.open(run.dir)
    for round in range(2):
        record(run, random, round * 30, 30)
        assert run.flush(30)
        time.sleep(float(random.random()) * 1.5)
        status = json.loads(next(run.dir.glob(".steno/nodes/*/status.json")).read_bytes())
        os.kill(status["pid"], signal.SIGKILL)
        same(reader)
    record(run, random, 200, 10)
    assert run.finish(30)
    assert ended(run.dir)
    same(reader)
    with steno.open(run.dir) as again:
        same(again)


def test_a_copy_without_its_machinery_has_its_summary(tmp_path: Path) -> None:
    run = begin(tmp_path / "here")
    record(run, np.random.default_rng(5), 0, 60)
    assert run.finish(30)
    assert ended(run.dir)
    copy = tmp_path / "there"
    shutil.copytree(run.dir, copy, ignore=lambda _, names: {".steno"} & set(names))
    with steno.open(run.dir) as reader, steno.open(copy) as other:
        assert repr(other.summary) == repr(reader.summary)
        same(other)
