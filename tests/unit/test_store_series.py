"""A series is what was logged, however much of it is sealed."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import Writer, listing

from steno.errors import UsageError
from steno.record import Ref
from steno.store.reader import RunReader

ODD = [
    math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63,
    2**64, -(2**70), "", "text", "NaN", "12", "ü\n\0,\"'", Ref("abc", "image", {"w": 1}), 1, 0.1,
]  # fmt: skip


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "tests" / "run"


@pytest.fixture(params=["unsealed", "sealed", "half", "finished"])
def stage(request):
    return request.param


def at_stage(writer: Writer, stage: str, records: list, **where) -> None:
    """Log the records, and take the ledger to a stage."""
    half = len(records) // 2
    for piece in (records[:half], records[half:]):
        if piece:
            writer.log(*piece, **where)
        if stage == "half":
            writer.seal()
            stage = "unsealed"
    if stage == "sealed":
        writer.seal()
    if stage == "finished":
        writer.finish()


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def test_values_are_exact_at_each_stage(run_dir, stage):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        at_stage(writer, stage, [(step, {"odd": value, "plain": 0.5}) for step, value in enumerate(ODD)])
        series = book.series("odd")
        assert len(series) == len(ODD)
        for step, (logged, read) in enumerate(zip(ODD, series.exact, strict=True)):
            if isinstance(logged, float):
                assert bits(read) == bits(logged) or (math.isnan(logged) and math.isnan(read)), step
            else:
                assert read == logged, step
            if isinstance(logged, int):
                assert series.value[step] == float(logged)
        assert series.text.tolist() == [one if isinstance(one, str) else None for one in ODD]
        assert [one for one in series.ref if one is not None] == [Ref("abc", "image", {"w": 1})]
        assert (series.value.dtype, series.step.dtype, series.rank.dtype) == (np.float64, np.int64, np.int32)
        assert series.time.dtype == np.dtype("datetime64[ns]")
        plain = book.series("plain")
        assert plain.record.tolist() == series.record.tolist()
        assert plain.time.view(np.int64).tolist() == series.time.view(np.int64).tolist()


def test_ranks_are_merged_in_order_of_step_and_chosen_by_rank(run_dir, stage):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank in (1, 0):
            writer.log(*[(step, {"loss": step + rank / 10}) for step in range(20)], rank=rank)
            if stage in {"half", "sealed"}:
                writer.seal()
        if stage == "finished":
            writer.finish()
        series = book.series("loss")
        assert series.step.tolist() == [step for step in range(20) for _ in (0, 1)]
        assert series.rank.tolist() == [0, 1] * 20
        assert book.series("loss", rank=1).value.tolist() == [step + 0.1 for step in range(20)]
        assert len(book.series("loss", rank=7)) == 0


def test_out_of_order_and_logged_again_steps_are_all_kept_in_order(run_dir, stage):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        at_stage(writer, stage, [(step, {"x": float(at)}) for at, step in enumerate([5, 3, 5, -2, 10**15, 3])])
        series = book.series("x")
        assert series.step.tolist() == [-2, 3, 3, 5, 5, 10**15]
        assert series.value.tolist() == [3.0, 1.0, 5.0, 0.0, 2.0, 4.0]


def test_a_range_of_steps_has_both_its_ends(run_dir, stage):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        at_stage(writer, stage, [(step, {"x": float(step)}) for step in range(-5, 30)])
        assert book.series("x", steps=(-1, 2)).step.tolist() == [-1, 0, 1, 2]
        assert book.series("x", steps=(27, None)).step.tolist() == [27, 28, 29]
        assert book.series("x", steps=(None, -4)).step.tolist() == [-5, -4]
        assert book.series("x", steps=(np.int64(3), np.int64(3)), points=10).step.tolist() == [3]


def test_a_rewind_hides_earlier_attempts_from_that_step_on(run_dir, stage):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.attempt(1)
        writer.log(*[(step, {"x": 1.0, "old": 0.0}) for step in range(10)])
        if stage in {"half", "sealed"}:
            writer.seal()
        writer.attempt(2, rewind=6)
        writer.log(*[(step, {"x": 2.0}) for step in range(6, 14)], attempt=2)
        if stage == "sealed":
            writer.seal()
        writer.attempt(3, rewind=9)
        writer.log(*[(step, {"x": 3.0}) for step in range(9, 12)], attempt=3)
        if stage == "finished":
            writer.finish()
        series = book.series("x")
        assert series.step.tolist() == list(range(12))
        assert series.value.tolist() == [1.0] * 6 + [2.0] * 3 + [3.0] * 3
        assert series.attempt.tolist() == [1] * 6 + [2] * 3 + [3] * 3
        assert len(book.series("x", attempt="all")) == 10 + 8 + 3
        assert book.series("x", attempt=2).step.tolist() == list(range(6, 14))
        assert book.series("old").step.tolist() == list(range(6))
        found = book.summary["x"]
        assert (found["last"], found["min"], found["max"], found["count"]) == (3.0, 1.0, 3.0, 12)
        assert (found["last_step"], found["min_step"], found["max_step"]) == (11, 0, 9)
        assert [one.rewind for one in book.info.attempts] == [None, 6, 9]
        counts = "select (select count(*) from metrics where key = 'x'), (select count(*) from metrics_all)"
        assert book.sql(counts).fetchall() == [(12, 31)]


def test_downsampling_keeps_texts_at_their_points(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*[(step, {"x": 2**60 + step if step % 100 == 0 else float(step)}) for step in range(1000)])
        writer.seal()
        series = book.series("x", points=50)
        assert 20 < len(series) <= 50
        for step, exact in zip(series.step.tolist(), series.exact, strict=True):
            assert exact == (2**60 + step if step % 100 == 0 else step)


def test_one_key_of_a_part_is_told_from_the_others(run_dir):
    keys = ["a", "a/b", "b", "A", "ü", "a\nb", "'", "../x", "*", "k" * 10_000, "null\0byte", "%", '"']
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log(*[(step, {key: float(at) for at, key in enumerate(keys)}) for step in range(3)])
        for _ in range(2):
            assert book.keys() == sorted(keys)
            for at, key in enumerate(keys):
                assert book.series(key).value.tolist() == [float(at)] * 3
            assert book.frame(keys, as_="arrow").column_names == ["step", "rank", "attempt", *keys]
            writer.seal()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": (1,)}, "steps="),
        ({"steps": 5}, "steps="),
        ({"steps": ("0", 5)}, "steps="),
        ({"rank": "0"}, "rank="),
        ({"attempt": "newest"}, "attempt="),
        ({"attempt": 1.5}, "attempt="),
        ({"points": 1}, "points="),
    ],
)
def test_wrong_arguments_are_said(run_dir, arguments, said):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"x": 1.0}))
        with pytest.raises(UsageError, match=said):
            book.series("x", **arguments)


def test_an_unknown_key_is_empty_while_the_run_may_bring_it_and_said_afterwards(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        assert len(book.series("train/loss")) == 0
        writer.log((0, {"train/loss": 1.0}))
        writer.poster.end_stream("host-0-0-1", "finished")
        with pytest.raises(UsageError, match="did you mean 'train/loss'"):
            book.series("train/los")
        with pytest.raises(UsageError, match="has no key 'zzz': it has train/loss"):
            book.frame(["train/loss", "zzz"])


def test_reading_leaves_nothing_behind(run_dir, stage):
    with Writer(run_dir) as writer:
        at_stage(writer, stage, [(step, {"x": float(step)}) for step in range(10)])
        before = listing(run_dir)
        with RunReader(run_dir) as book:
            assert len(book.series("x")) == 10
            book.info, book.summary, book.keys(), book.records(), book.frame("x", as_="arrow")
            book.sql("select * from metrics order by value").fetchall()
            assert len(list(book.tail(follow=False))) == 10
        after = listing(run_dir)
        # A live reader of a WAL marks its place in the -shm that is there; it makes no file.
        assert {name: size for name, size in after.items() if not name.endswith("-shm")} == {
            name: size for name, size in before.items() if not name.endswith("-shm")
        }
        assert after.keys() == before.keys()


VALUE = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.text(max_size=5))
RECORDS = st.lists(
    st.tuples(
        st.integers(-5, 5),
        st.dictionaries(st.sampled_from(["a", "b", "c/d"]), VALUE, min_size=1),
        st.integers(0, 2),
        st.sampled_from(["", "", "", "seal", "finish", "look"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(records=RECORDS)
def test_whatever_is_logged_is_read_once_in_order(records, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "tests" / "run"
    writer, expected = Writer(run_dir), {}
    with RunReader(run_dir) as book:
        for number, (step, values, rank, then) in enumerate(records, 1):
            writer.log((step, values), rank=rank)
            for key, value in values.items():
                expected.setdefault(key, []).append((step, rank, number, value))
            if then == "seal":
                writer.seal()
            elif then == "finish":
                ends, mono = writer.ends, writer.mono
                writer.finish()
                writer = Writer(run_dir)
                writer.ends, writer.mono = ends, mono
            elif then == "look" and "a" in expected:  # else the run, which nobody writes, has no such key
                book.series("a")
        with writer:
            for each in (book, RunReader(run_dir)):
                assert each.keys() == sorted(expected)
                for key, points in expected.items():
                    points.sort(key=lambda point: point[:3])
                    series = each.series(key)
                    assert series.step.tolist() == [step for step, *_ in points]
                    assert series.rank.tolist() == [rank for _, rank, *_ in points]
                    assert series.record.tolist() == [record for _, _, record, _ in points]
                    for read, (*_, value) in zip(series.exact, points, strict=True):
                        same = read == value or (isinstance(value, float) and math.isnan(value) and math.isnan(read))
                        assert same, (key, read, value)
                each.close()


def test_a_key_that_is_no_string_is_said_and_leaves_no_part_out(run_dir):
    writer = Writer(run_dir)
    writer.log((0, {"a": 1.0, "3": 2.0}))
    writer.finish()
    book = RunReader(run_dir)
    for ask in (lambda: book.series(3), lambda: book.frame([3]), lambda: book.frame(["a", 3])):
        with pytest.raises(UsageError, match="a key is a string, not int: 3"):
            ask()
    assert book.series("a").value.tolist() == [1.0]
    assert not book.info.unreadable


def test_a_part_is_not_left_out_because_memory_is_short(run_dir):
    writer = Writer(run_dir)
    writer.log(*((step, {f"k/{index}": step + index / 7 for index in range(50)}) for step in range(2000)))
    writer.finish()
    book = RunReader(run_dir)
    book._own.engine.cursor().execute("set memory_limit='100KB'")
    with pytest.raises(MemoryError, match="more memory"):
        book.frame()
    book._own.engine.cursor().execute("set memory_limit='1GB'")
    assert len(book.frame()) == 2000
    assert not book.info.unreadable
