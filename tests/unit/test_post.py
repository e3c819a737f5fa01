"""Posting: order, numbers, holes and fills, exactly once."""

from __future__ import annotations

import json
import random
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_slices import HOLE, info, piece

from nodes import node_dir
from steno.journal.decode import KeySet
from steno.ledger import schema, steps
from steno.ledger.post import Poster
from steno.ledger.read import Reader
from steno.ledger.snapshot import run_state
from steno.record import Ref


@pytest.fixture
def ledger(tmp_path):
    node = node_dir(tmp_path, 0)
    node.mkdir(parents=True)
    connection = schema.begin(node / "ledger.sqlite", 0)
    yield connection
    connection.close()


@pytest.fixture
def poster(ledger):
    return Poster(ledger, 0)


def rows(*batches):
    """(record, step, values) of all records, NaN as None."""
    return [(one.record, one.step, dict(one.values)) for batch in batches for one in batch.records()]


def test_records_of_all_streams_are_ordered_by_their_stamps(poster):
    batch = poster.post(
        [
            (info("a", rank=0), piece([(10, None, {"x": 1.0}), (30, None, {"x": 3.0})])),
            (info("b", rank=1), piece([(20, None, {"y": 2.0, "z": 5.0}), (40, None, {"x": 4.0})])),
        ]
    )

    assert rows(batch) == [(1, 0, {"x": 1.0}), (2, 1, {"y": 2.0, "z": 5.0}), (3, 2, {"x": 3.0}), (4, 3, {"x": 4.0})]
    assert batch.rank.tolist() == [0, 1, 0, 1]
    assert batch.time.tolist() == [10**18] * 4  # in whole microseconds


def test_equal_stamps_keep_the_journals_order(poster):
    batch = poster.post([(info(), piece([(5, 1, {"a": float(i)}) for i in range(50)]))])

    assert list(range(50)) == [int(values["a"]) for _, _, values in rows(batch)]


def test_an_explicit_step_raises_the_counter(poster):
    first = poster.post(
        [(info(), piece([(1, None, {"a": 1.0}), (2, 10, {"a": 1.0}), (3, None, {"a": 1.0}), (4, 3, {"a": 1.0})]))]
    )
    second = poster.post([(info(), piece([(5, None, {"a": 1.0})], start=first and 4496))])

    assert first.step.tolist() == [0, 10, 11, 3]
    assert second.step.tolist() == [12]


@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 40), st.integers(-(2**63), 2**63 - 1)), max_size=60),
    st.integers(0, 50),
)
@settings(max_examples=200, deadline=None)
def test_whole_columns_are_numbered_as_a_loop_would(given_steps, following):
    step = np.array([one or 0 for one in given_steps], np.int64)
    auto = np.array([one is None for one in given_steps], np.bool_)

    after = steps.number(step, auto, following)

    expected, counter = [], following
    for one in given_steps:
        if one is None:
            expected.append(counter)
            counter += 1
        else:
            expected.append(one)
            counter = max(counter, min(one, steps.LAST_STEP) + 1)
    assert expected == step.tolist()
    assert counter == after


@pytest.mark.parametrize("per", [None, "stream"])
def test_a_counter_option_numbers_by_kind_and_key(poster, per):
    options = {"counter": "scalar"} | ({"per": per} if per else {})
    one = piece([(i, None, {"loss" if i % 2 else "acc": 1.0}) for i in range(10)], options=options)
    two = piece([(100 + i, None, {"loss": 1.0}) for i in range(3)], options=options)

    batch = poster.post([(info("a"), one), (info("b"), two)])

    assert batch.step.tolist()[:10] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert ([0, 1, 2] if per else [5, 6, 7]) == batch.step.tolist()[10:]
    assert poster.post([(info("c"), piece([(1, None, {"a": 1.0})]))]).step.tolist() == [0]


def test_many_counters_and_sets_of_several_keys_count_row_by_row(poster):
    sets = [(f"k{i}",) for i in range(20)] + [("k0", "k1")]
    generator = random.Random(3)
    given_rows = [
        (i, generator.choice([None, None, 7]), dict.fromkeys(generator.choice(sets), 1.0)) for i in range(200)
    ]

    batch = poster.post([(info(), piece(given_rows, options={"counter": "c"}))])

    counters: dict[str, int] = {}
    expected = []
    for _, step, values in given_rows:
        current = max(counters.get(key, 0) for key in values)
        expected.append(current if step is None else step)
        following = current + 1 if step is None else max(current, step + 1)
        counters.update(dict.fromkeys(values, following))
    assert expected == batch.step.tolist()


def test_a_hole_is_left_out_and_its_fill_comes_under_the_old_record(poster, ledger, tmp_path):
    first = poster.post([(info(), piece([(1, 7, {"host": 1.0, "gpu": HOLE}, 500), (2, 8, {"host": 2.0}, 501)]))])
    held = ledger.execute("select count(*) from holes").fetchone()[0]
    second = poster.post([(info(), piece([(3, 9, {"host": 3.0}, 502)], start=4296, fills=[(500, {"gpu": 0.5})]))])

    assert rows(first) == [(1, 7, {"host": 1.0}), (2, 8, {"host": 2.0})]
    assert held == 1
    assert rows(second) == [(1, 7, {"gpu": 0.5}), (3, 9, {"host": 3.0})]
    assert ledger.execute("select count(*) from holes").fetchone()[0] == 0


def test_a_late_value_has_its_records_level(poster):
    gpu = {"a": HOLE, "b": HOLE, "host": 1.0}
    poster.post([(info(), piece([(1, 7, gpu, 500), (2, 8, {"a": HOLE}, 501)], meta={0: {"level": 2}}))])
    second = poster.post([(info(), piece([], start=4296, end=4400, fills=[(501, {"a": 3.0}), (500, {"a": 1.0})]))])
    third = poster.post([(info(), piece([], start=4400, end=4500, fills=[(500, {"b": 2.0})]))])

    assert rows(second, third) == [(1, 7, {"a": 1.0}), (2, 8, {"a": 3.0}), (1, 7, {"b": 2.0})]
    assert second.meta == third.meta == {0: {"level": 2}}


def test_a_fill_in_the_same_posting_takes_its_place(poster, ledger):
    ref = Ref("abc", "image")
    batch = poster.post(
        [
            (
                info(),
                piece(
                    [
                        (1, 0, {"a": HOLE, "b": 2.0, "c": HOLE}, 500),
                        (2, 1, {"b": "text"}, 501),
                        (3, 2, {"a": HOLE}, 502),
                    ],
                    fills=[(500, {"c": ref}), (500, {"a": 2**60 + 1}), (502, {"a": float("inf")})],
                ),
            )
        ]
    )

    assert [(1, 0, {"a": 2**60 + 1, "b": 2.0, "c": ref}), (2, 1, {"b": "text"}), (3, 2, {"a": float("inf")})] == rows(
        batch
    )
    assert ledger.execute("select count(*) from holes").fetchone()[0] == 0


def test_an_array_that_was_spread_out_fills_its_hole(poster, ledger):
    poster.post([(info(), piece([(1, 0, {"h": HOLE}, 500)]))])

    batch = poster.post([(info(), piece([], start=4196, fills=[(500, {"h/min": 0.0, "h/max": 1.0})]))])

    assert rows(batch) == [(1, 0, {"h/max": 1.0, "h/min": 0.0})]
    assert ledger.execute("select count(*) from holes").fetchone()[0] == 0


def test_a_record_of_holes_alone_keeps_its_number(poster):
    first = poster.post([(info(), piece([(1, None, {"a": HOLE}, 500)]))])
    second = poster.post([(info(), piece([(2, None, {"b": 1.0}, 501)], start=4196, fills=[(500, {"a": 3.0})]))])

    assert first is None
    assert rows(second) == [(1, 0, {"a": 3.0}), (2, 1, {"b": 1.0})]


def test_holes_that_never_fill_are_counted_when_the_writer_is_gone(poster, tmp_path):
    poster.post([(info(), piece([(1, 0, {"a": HOLE, "b": HOLE, "c": 1.0}, 500)]))])
    poster.end_stream("s-1")

    snapshot = Reader(tmp_path).snapshot()

    assert snapshot.streams[0].unfilled == 2
    assert [(loss.kind, loss.count) for loss in snapshot.losses] == [("unfilled", 2)]
    assert snapshot.streams[0].state == "dead"


def test_a_slice_behind_a_gap_is_refused_and_changes_nothing(poster):
    first = piece([(1, 0, {"a": 1.0})])
    poster.post([(info(), first)])
    with pytest.raises(ValueError, match=f"begins at {first.end + 8}, posted is {first.end}"):
        poster.post([(info(), piece([(3, 2, {"a": 3.0})], start=first.end + 8))])

    batch = poster.post([(info(), piece([(2, 1, {"a": 2.0})], start=first.end))])

    assert rows(batch) == [(2, 1, {"a": 2.0})]


def test_a_fill_of_an_unknown_record_is_counted(poster, tmp_path):
    poster.post([(info(), piece([], fills=[(999, {"a": 1.0})]))])

    assert [(loss.kind, loss.count) for loss in Reader(tmp_path).snapshot().losses] == [("orphan fill", 1)]


def test_entries_share_the_numbers_of_records(poster, tmp_path):
    batch = poster.post(
        [
            (
                info(),
                piece(
                    [(10, 0, {"a": 1.0}), (30, 1, {"a": 2.0})],
                    entries=[
                        (5, 90, "start", {"pid": 1}),
                        (20, 91, "config", {"lr": 0.1, "n": 2}),
                        (40, 92, "finish", {"state": "finished"}),
                    ],
                ),
            )
        ]
    )

    assert batch.record.tolist() == [2, 4]
    assert [(one.record, one.kind) for one in batch.entries] == [(1, "start"), (3, "config"), (5, "finish")]
    snapshot = Reader(tmp_path).snapshot()
    assert snapshot.meta["config"] == {"lr": 0.1, "n": 2}
    assert run_state(snapshot.streams) == "finished"
    assert batch.entries == snapshot.entries


@pytest.mark.parametrize(
    ("state", "primary", "ended", "expected"),
    [
        (None, True, False, "running"),
        (None, True, True, "crashed"),
        (None, False, True, "finished"),
        ("failed", True, True, "failed"),
        ("finished", True, True, "finished"),
    ],
)
def test_the_run_state_is_that_of_its_primary_streams(poster, tmp_path, state, primary, ended, expected):
    entries = [(2, 9, "finish", {"state": state, "error": "boom"})] if state else []
    poster.post([(info(primary=primary), piece([(1, 0, {"a": 1.0})], entries=entries))])
    if ended:
        poster.end_stream("s-1")

    assert expected == run_state(Reader(tmp_path).snapshot().streams)


def test_the_latest_attempt_decides(poster, tmp_path):
    poster.post([(info("a", attempt=1), piece([(1, 0, {"a": 1.0})]))])
    poster.end_stream("a")
    poster.post(
        [(info("b", attempt=2), piece([(1, 0, {"a": 1.0})], entries=[(2, 1, "finish", {"state": "finished"})]))]
    )

    assert run_state(Reader(tmp_path).snapshot().streams) == "finished"


def test_a_slice_that_was_posted_is_passed_over(poster, ledger):
    slices = [(info(), piece([(1, None, {"a": 1.0})]))]
    poster.post(slices)

    assert poster.post(slices) is None
    assert poster.next_record == 2
    with pytest.raises(ValueError, match="begins at"):
        poster.post([(info(), piece([(1, None, {"a": 1.0})], start=9000))])


def test_slices_that_follow_each_other_in_a_segment_are_posted_together(poster):
    batch = poster.post(
        [
            (info(), piece([(1, None, {"a": 1.0})], start=4096, end=4200)),
            (info(), piece([(2, None, {"a": 2.0})], start=4200, end=4300)),
            (info(segment=1), piece([(3, None, {"a": 3.0})], start=4096, end=4200)),
        ]
    )

    assert batch.step.tolist() == [0, 1, 2]
    assert poster.posted("s-1", 0) == 4300


def test_a_failed_posting_changes_nothing(poster, ledger, tmp_path):
    poster.post([(info(), piece([(1, None, {"a": 1.0})]))])
    before = Reader(tmp_path).snapshot()
    ledger.execute("create trigger full before insert on batches begin select raise(abort, 'full'); end")
    retry = [(info(), piece([(2, None, {"b": 2.0})], start=4196))]

    with pytest.raises(sqlite3.IntegrityError):
        poster.post(retry)
    ledger.execute("drop trigger full")
    after = Reader(tmp_path).snapshot()
    batch = poster.post(retry)

    assert rows(*before.batches) == rows(*after.batches)
    assert rows(batch) == [(2, 1, {"b": 2.0})]
    assert batch.id == 2


def test_a_new_poster_goes_on_where_the_old_one_was(poster, ledger):
    poster.post([(info(), piece([(1, None, {"a": 1.0, "b": HOLE}, 500), (2, None, {"a": 1.0})]))])

    again = Poster(ledger, 0)
    batch = again.post([(info(), piece([(3, None, {"b": 2.0})], start=4296, fills=[(500, {"b": 9.0})]))])

    assert Poster(ledger, 0).posted("s-1", 0) - 100 == 4296
    assert rows(batch) == [(1, 0, {"b": 9.0}), (3, 2, {"b": 2.0})]
    assert ledger.execute("select count(*) from keys").fetchone()[0] == 2


def test_losses_and_refusals_are_counted_and_noted_once(poster, tmp_path):
    poster.post([(info(), piece([(1, 0, {"a": 1.0})], refused={"bad": "no number"}, lost=77))])
    poster.post([(info(), piece([(2, 1, {"a": 1.0})], start=4196, refused={"bad": "no number"}))])

    snapshot = Reader(tmp_path).snapshot()

    assert {("refused", "bad", 2), ("lost bytes", "s-1", 77)} == {
        (one.kind, one.name, one.count) for one in snapshot.losses
    }
    assert [one.payload for one in snapshot.entries if one.kind == "note"] == [
        {"refused": "bad", "reason": "no number"}
    ]
    assert snapshot.streams[0].lost_bytes == 77


def test_options_beyond_numbering_become_meta(poster):
    batch = poster.post(
        [(info(), piece([(1, 0, {"a": 1.0}), (2, 1, {"b": 1.0})], options={"level": 3}, meta={1: {"x": 1}}))]
    )

    assert batch.meta == {0: {"level": 3}, 1: {"level": 3, "x": 1}}


def test_numbers_carry_the_node(ledger):
    batch = Poster(ledger, 5).post([(info(), piece([(1, 0, {"a": 1.0})], entries=[(2, 1, "event", {})]))])

    assert batch.record.tolist() == [1]
    assert (batch.entries[0].node, batch.entries[0].record) == (5, 2)


def test_a_new_attempt_rewinds_the_counter_once(poster):
    poster.post([(info(), piece([(i, None, {"a": 1.0}) for i in range(5)]))])
    poster.begin_attempt(2, 3)
    first = poster.post([(info(), piece([(9, None, {"a": 1.0})], start=4596))])
    poster.begin_attempt(2, 3)
    second = poster.post([(info(), piece([(10, None, {"a": 1.0})], start=4696))])

    assert first.step.tolist() == [3]
    assert second.step.tolist() == [4]


@pytest.mark.parametrize("per", [None, "stream"])
@pytest.mark.parametrize("again", [False, True], ids=["the same poster", "the next one"])
def test_a_new_attempt_rewinds_a_writers_counters_too(poster, ledger, per, again):
    """Those that were met before, and those of keys that come later for the first time."""
    options = {"counter": "scalar"} | ({"per": per} if per else {})
    poster.post([(info(), piece([(i, None, {"loss": 1.0}) for i in range(9)], options=options))])
    poster.begin_attempt(2, 3)
    if again:
        poster = Poster(ledger, 0)
    late = [(10, None, {"loss": 1.0}), (11, None, {"loss": 1.0}), (12, None, {"later": 1.0})]

    batch = poster.post([(info(), piece(late, start=4096 + 900, options=options))])

    assert batch.step.tolist() == [3, 4, 3]
    poster.begin_attempt(2, 3)
    batch = poster.post([(info(), piece([(13, None, {"loss": 1.0})], start=4096 + 1200, options=options))])
    assert batch.step.tolist() == [5]


VALUES = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**64),
    st.text(max_size=5),
    st.just(HOLE),
    st.builds(Ref, st.text("ab", max_size=3), st.just("image")),
)
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["s1", "s2", "s3"]),
        st.dictionaries(st.sampled_from("abcde"), VALUES, max_size=4),
    ),
    max_size=25,
)


@given(st.lists(RECORDS, min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_mixture_is_posted_as_a_plain_model_says(postings, generator):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(schema.TABLES)
    poster = Poster(connection, 0)
    number, seq, open_holes, ends = 1, 1000, {}, {}
    expected, got = [], []
    for posting in postings:
        posting.sort(key=lambda one: one[0])
        mine: dict[str, list] = {}
        fills: dict[str, list] = {}
        order = []
        for mono, stream, values in posting:
            seq += 1
            mine.setdefault(stream, []).append((mono, seq, dict(values), seq))
            order.append((mono, stream, seq, dict(values)))
        streams = ["s1", "s2", "s3"]
        order.sort(key=lambda one: (one[0], streams.index(one[1])))
        current = []
        for _, stream, its, values in order:
            current.append((number, stream, its, values))
            number += 1
        for at, stream, its, values in current:
            for key in [key for key, value in values.items() if value is HOLE]:
                open_holes[stream, its, key] = at
                del values[key]
        late: dict[int, dict] = {}
        for (stream, its, key), at in list(open_holes.items()):
            if generator.random() < 0.5:
                value = generator.choice([1.5, "late", 2**70])
                fills.setdefault(stream, []).append((its, {key: value}))
                del open_holes[stream, its, key]
                own = [values for number_, _, _, values in current if number_ == at]
                (own[0] if own else late.setdefault(at, {}))[key] = value
        expected += [(at, values) for at, values in sorted(late.items())]
        expected += [(at, values) for at, _, _, values in current if values]
        slices = []
        for stream in streams:
            if stream in mine or stream in fills:
                start = ends.get(stream, 4096)
                ends[stream] = start + 10
                slices.append(
                    (
                        info(stream),
                        piece(mine.get(stream, []), start=start, end=start + 10, fills=fills.get(stream, [])),
                    )
                )
        batch = poster.post(slices)
        if batch is not None:
            assert (np.diff(batch.record) > 0).all()
            got += [(one.record, dict(one.values)) for one in batch.records()]
            blob = connection.execute("select columns from batches where id=?", (batch.id,)).fetchone()[0]
            names = dict(connection.execute("select id, key from keys"))
            stored = schema.named(schema.decode(blob), batch.id, 0, lambda ids, names=names: names)
            assert [dict(one.values) for one in batch.records()] == [dict(one.values) for one in stored.records()]
    assert expected == got
    connection.close()


def test_a_million_keys_leave_no_million_in_memory(poster, monkeypatch):
    from steno.ledger import key_ids

    monkeypatch.setattr(key_ids, "_IDS_KEPT", 320)
    seen = []
    for at in range(60):
        batch = poster.post(
            [
                (
                    info(),
                    piece(
                        [(at, at, {f"k{at}-{i}": 1.0 for i in range(20)}, at), (at, at, {"same": 2.0})],
                        start=4096 + at * 10,
                        end=4106 + at * 10,
                    ),
                )
            ]
        )
        seen.append(batch)
        assert len(poster._keys) <= 320 + 21

    ids = dict(poster.connection.execute("select key, id from keys"))

    assert len(ids) == 60 * 20 + 1
    assert poster.connection.execute("select count(*) from keys where key='same'").fetchone()[0] == 1


def test_the_ledger_remembers_what_each_batch_consumed(poster, ledger):
    poster.post([(info("a", segment=3), piece([(1, 0, {"x": 1.0})], end=5000))])

    assert json.loads(ledger.execute("select took from batches").fetchone()[0]) == [["a", 3, 5000]]


def test_a_key_set_may_be_empty(poster):
    slices = piece([(1, None, {}), (2, None, {"a": 1.0}), (3, None, {})])
    slices.sets[0] = KeySet(())

    assert rows(poster.post([(info(), slices)])) == [(2, 1, {"a": 1.0})]
