"""What is appended is read back exactly, whatever its kind."""

from __future__ import annotations

import math
import os
import random
import signal
import struct
import sys
import threading
import time

import crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_language import Book, Reading

from steno.errors import CorruptError
from steno.journal import format as fmt
from steno.journal.decode import HOLE
from steno.journal.segment import Segment
from steno.journal.tailer import Tailer

pytestmark = pytest.mark.usefixtures("road")


@pytest.fixture
def book(road, tmp_path):
    made = Book(tmp_path)
    yield made
    made.close()


def read(book, number=0, **options):
    return Reading(book.directory / f"{number:06d}.seg", **options)


def same(left, right):
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


def test_records_come_back_in_order_with_their_steps(book):
    """Twenty keys, a thousand records: vectorised and exact."""
    rows = [{f"k{i}": random.random() for i in range(20)} for _ in range(1000)]
    for step, row in enumerate(rows):
        book.log(dict(row), step)
    assert read(book, live=True).records == list(enumerate(rows))


def test_key_sets_of_one_length_can_alternate(book):
    """The plan of a length is replaced by each set; no value changes its key."""
    for step in range(300):
        book.log({"a": step, "b": 1.5} if step % 3 else {"b": 2.5, "c": step}, step)
    for step, values in read(book).records:
        assert values == ({"a": step, "b": 1.5} if step % 3 else {"b": 2.5, "c": step})


def alternating(width):
    """Key sets of one width: others altogether, alike but for one key at any place, and in other orders."""
    sets = [[f"{name}/{n}" for n in range(width)] for name in ("train", "val", "test")]
    for place in range(width):
        sets.append([*sets[0][:place], f"other {place}", *sets[0][place + 1 :]])
        sets.append([*sets[0][:place], f"another {place}", *sets[0][place + 1 :]])
    return [*sets, sets[0][::-1], [*sets[1][1:], sets[1][0]]]


@pytest.mark.parametrize("width", [2, 3, 20])
def test_alternating_key_sets_of_one_length_stay_on_the_hot_path(book, monkeypatch, width):
    wanted = []
    for turn in range(6):
        if turn == 4:
            # Every set is known now, in each order: nothing may leave the hot path.
            monkeypatch.setattr(type(book.appender), "plan", lambda *_: pytest.fail("left the hot path"))
        for number, keys in enumerate(alternating(width)):
            record = {key: turn * 100 + number * 10 + at / 64 for at, key in enumerate(keys)}
            book.log(record, turn)
            wanted.append((turn, record))
    assert read(book).records == wanted


@pytest.mark.parametrize("width", [2, 3, 20])
@pytest.mark.parametrize("several", [2, 5, 0])
def test_a_known_key_set_is_found_without_a_failed_attempt(book, width, several):
    """An exception inside `log`, although it is caught there, costs as much as half of the call."""
    sets = alternating(width)
    rows = [dict.fromkeys(keys, 1.5) for keys in sets[len(sets) - several if several else 0 :]]
    for step in range(4):
        for row in rows:
            book.log(row, step)
    raised = []

    def look(frame, event, _):
        if event == "exception":
            raised.append(frame.f_lineno)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        for row in rows:
            book.log(row, 2)
    finally:
        sys.settrace(before)
    assert not raised


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True), min_size=1, max_size=40))
def test_any_key_sets_in_any_order_keep_their_values(tmp_path_factory, sets):
    book = Book(tmp_path_factory.mktemp("j"))
    wanted = []
    for turn in range(4):
        for number, keys in enumerate(sets):
            record = {key: turn * 1000 + number * 10 + ord(key) / 64 for key in keys}
            book.log(record if turn % 2 else {key: np.float64(value) for key, value in record.items()}, number)
            wanted.append((number, record))
    book.close()
    assert read(book).records == wanted


def test_alternating_key_sets_of_numpy_scalars_keep_their_values(book):
    wanted = []
    for turn in range(6):
        for name in ("a", "b"):
            record = {f"{name}/x": np.float32(turn / 3), f"{name}/y": np.int64(turn), f"{name}/z": float(turn)}
            book.log(record, turn)
            wanted.append(
                (turn, {key: value if isinstance(value, float) else value.item() for key, value in record.items()})
            )
    assert read(book).records == wanted


def test_same_keys_in_another_order_keep_their_values(book):
    for step in range(10):
        book.log({"a": 1.0, "b": 2.0} if step % 2 else {"b": 2.0, "a": 1.0}, step)
    assert all(values == {"a": 1.0, "b": 2.0} for _, values in read(book).records)


def test_kinds_may_change_from_record_to_record(book):
    kinds = [0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, 2**31, 2**32, 2**53, -(2**31) - 1, -(2**53)]
    kinds += [0.5, -0.0, math.inf, -math.inf, math.nan, 5e-324, True, False, 2**53 + 1, 2**63 - 1, -(2**63), 2**63]
    kinds += [2**64 - 1, "text", 2**64, -(2**63) - 1, 10**300]
    rng = random.Random(1)
    rows = [{"x": rng.choice(kinds), "y": rng.choice(kinds), "z": 1.0} for _ in range(500)]
    for step, row in enumerate(rows):
        book.log(dict(row), step)
    got = read(book).records
    assert len(got) == len(rows)
    for (_, values), row in zip(got, rows, strict=True):
        for key, given_ in row.items():
            assert same(values[key], given_), (key, given_, values[key])
            if isinstance(given_, float) and given_ == 0:
                assert math.copysign(1, values[key]) == math.copysign(1, given_)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=12),
            st.one_of(
                st.floats(),
                st.integers(-(2**70), 2**70),
                st.booleans(),
                st.text(max_size=30),
            ),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_record_is_kept_exactly(tmp_path_factory, rows):
    """Floats, integers of any size, booleans, unicode keys and strings."""
    book = Book(tmp_path_factory.mktemp("j"))
    try:
        for _ in range(3):
            for step, row in enumerate(rows):
                book.log(dict(row), step)
        book.close()
        got = read(book).records
        assert len(got) == 3 * len(rows)
        for (step, values), row in zip(got, rows * 3, strict=True):
            encodable = dict(row.items())
            assert values.keys() == encodable.keys()
            assert all(same(values[key], value) for key, value in encodable.items())
        assert not book.reports
    finally:
        book.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
def test_any_step_of_64_bits_is_kept(tmp_path_factory, step, others):
    book = Book(tmp_path_factory.mktemp("j"))
    for _ in range(5 + others):
        book.log({"a": 1.0, "b": 2.0}, step)
    book.close()
    assert {got for got, _ in read(book).records} == {step}


def test_nested_dicts_flatten_with_a_slash(book):
    for _ in range(3):
        book.log({"a": {"b": {"c": 1.0}, "d": 2}, "e": "s"}, 0)
    assert read(book).records == [(0, {"a/b/c": 1.0, "a/d": 2.0, "e": "s"})] * 3


def test_arrays_are_summarised_or_listed(book):
    array = np.arange(100.0)
    book.log({"small": np.arange(3), "big": array, "list": [1, 2.5, True], "one": np.array([7])}, 0)
    book.log({"big": array}, 1, arrays="list")
    book.log({"big": array}, 2, arrays="histogram")
    first, second, third = (values for _, values in read(book).records)
    assert first["small/2"] == 2
    assert first["big/min"] == 0
    assert first["big/max"] == 99
    assert first["big/mean"] == 49.5
    assert first["big/std"] == pytest.approx(array.std())
    assert [first["list/0"], first["list/1"], first["list/2"]] == [1, 2.5, 1]
    assert first["one"] == 7
    assert [second[f"big/{i}"] for i in range(100)] == array.tolist()
    assert sum(third["big"].meta["counts"]) == 100


def test_an_array_is_taken_as_it_is_at_the_call(book):
    array = np.zeros(4)
    for step in range(50):
        array[:] = step
        book.log({"a": array}, step)
        array[:] = -1
    assert [values["a/0"] for _, values in read(book).records] == list(range(50))


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"],
)
def test_numpy_scalars_of_every_dtype_are_exact(book, dtype):
    kind = np.dtype(dtype)
    values = [0, 1]
    if kind.kind in "iu":
        values += [np.iinfo(kind).min, np.iinfo(kind).max]
    if kind.kind == "f":
        values += [0.1, np.finfo(kind).max, np.finfo(kind).tiny, np.nan, np.inf]
    scalars = [kind.type(value) for value in values]
    for scalar in scalars:
        book.log({"x": scalar, "y": 1.0}, 0)
    for (_, got), scalar in zip(read(book).records, scalars, strict=True):
        assert same(got["x"], scalar.item())
    assert not book.reports


@pytest.mark.parametrize(
    "bad",
    [
        object(),
        1 + 2j,
        None,
        b"raw",
        np.longdouble(1) / 3,
        np.complex64(1),
        [],
        {},
        np.array(["a", "b"]),
        pytest.param(1 << 20000, id="huge"),
    ],
)
def test_a_bad_value_is_reported_and_its_neighbours_kept(book, bad):
    for _ in range(3):
        book.log({"good": 1.0, "bad": bad, "fine": 2}, 4)
    got = read(book)
    assert [values for _, values in got.records] == [{"good": 1.0, "fine": 2.0}] * 3
    assert any("bad" in key for key, _ in book.reports) or "bad" in got.refused


@pytest.mark.parametrize("step", ["3", 1.5, [], object(), 2**63, -(2**63) - 1, 2**70])
def test_a_bad_step_keeps_the_record_under_an_automatic_one(book, step):
    for _ in range(3):
        book.log({"a": 1.0, "b": 2.0}, step)
    got = read(book)
    assert [s for s, _ in got.records] == [None] * 3
    assert book.reports or got.refused


def test_numpy_integers_are_steps(book):
    book.log({"a": 1.0}, np.int64(7))
    assert read(book).records[0][0] == 7
    assert not book.reports


@pytest.mark.parametrize("key", ["", "a" * 10_000, "../../etc", "a\nb", "ключ", "\x00", "💡/x"])
def test_any_string_is_a_key(book, key):
    for step in range(3):
        book.log({key: 1.0, "other": 2.0}, step)
        book.log({key: 3.0}, step)
    assert all(key in values for _, values in read(book).records)


def test_keys_that_are_no_strings_are_recorded_by_their_text(book):
    for _ in range(3):
        book.log({1: 2.0, (2, 3): 4.0}, 0)
    assert [set(values) for _, values in read(book).records] == [{"1", "(2, 3)"}] * 3


def test_a_surrogate_in_a_key_or_value_is_kept_in_its_escaped_form(book):
    book.log({"\ud800": 1.0, "v": "\udfff", "ok": 1.0}, 0)
    ((_, values),) = read(book).records
    assert values == {"\\ud800": 1.0, "v": "\\udfff", "ok": 1.0}
    assert book.reports == []


def test_a_value_too_large_for_a_segment_goes_to_a_side_file(tmp_path):
    book = Book(tmp_path, size=64 << 10)
    text = "x" * 10_000_000
    book.log({"before": 1.0}, 0)
    book.log({"text": text, "n": 1.0}, 1)
    book.log({"after": 2.0}, 2)
    book.close()
    got = [record for number in book.all_segments() for record in read(book, number).records]
    assert got == [(0, {"before": 1.0}), (1, {"text": text, "n": 1.0}), (2, {"after": 2.0})]


def test_a_lost_side_file_is_counted_and_costs_only_its_record(tmp_path):
    book = Book(tmp_path, size=64 << 10)
    book.log({"text": "x" * 1_000_000}, 0)
    book.log({"after": 2.0}, 1)
    book.close()
    for file in tmp_path.glob("side-*"):
        file.unlink()
    got = read(book)
    assert got.records == [(1, {"after": 2.0})]
    assert got.lost >= 1_000_000


def test_rolling_loses_nothing_and_repeats_announcements(tmp_path):
    """Each segment can be read by itself."""
    book = Book(tmp_path, size=16 << 10)
    rows = [{f"k{i}": float(step) for i in range(20)} for step in range(500)]
    for step, row in enumerate(rows):
        book.log(row, step)
    book.close()
    assert len(book.segments) > 5
    got = [record for number in book.all_segments() for record in read(book, number).records]
    assert got == list(enumerate(rows))


def test_threads_lose_nothing_and_keep_their_own_order(tmp_path):
    book = Book(tmp_path, size=64 << 10)

    def work(thread):
        for i in range(2000):
            book.log({"thread": thread, "i": i, "x": 0.5})

    threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book.close()
    parts = [read(book, number) for number in book.all_segments()]
    by_thread = {t: [] for t in range(8)}
    for part in parts:
        for _, values in part.records:
            by_thread[values["thread"]].append(values["i"])
    assert all(seen == list(range(2000)) for seen in by_thread.values())
    seqs = [seq for part in parts for seq in part.seqs]
    assert len(set(seqs)) == 16_000


def test_a_signal_handler_may_log_inside_log(tmp_path):
    """A 1 kHz timer that logs too: nothing deadlocks, nothing tears."""
    book = Book(tmp_path, size=64 << 10)
    fired = 0

    def handler(*_):
        nonlocal fired
        fired += 1
        book.log({"handler": fired})

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    logged = 0
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            book.log({"main": logged, "b": 1.0, "c": "x" if logged % 7 == 0 else 2.0}, logged)
            logged += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    book.appender.recover()
    book.close()
    records = [values for n in book.all_segments() for _, values in read(book, n).records]
    assert sorted(values["main"] for values in records if "main" in values) == list(range(logged))
    assert sorted(values["handler"] for values in records if "handler" in values) == list(range(1, fired + 1))
    assert fired > 100


def test_a_finalizer_may_log_inside_log(tmp_path):
    book = Book(tmp_path, size=64 << 10)

    class Noisy:
        def __init__(self):
            self.self = self  # a cycle: freed by the collector, wherever it runs

        def __del__(self):
            book.log({"del": 1.0})

    for i in range(3000):
        Noisy()
        book.log({"main": i, "other": [1, 2, 3]})
    book.close()
    records = [values for n in book.all_segments() for _, values in read(book, n).records]
    assert [values["main"] for values in records if "main" in values] == list(range(3000))


def test_without_a_segment_records_wait_in_bounded_memory(tmp_path):
    """A full disk: said once, kept, written when there is room again."""
    book = Book(tmp_path, size=16 << 10)
    for i in range(100):
        book.log({"i": i, "pad": "x" * 100}, i)
    book.full = True
    for i in range(100, 400):
        book.log({"i": i, "pad": "x" * 100}, i)
    assert book.appender.waiting
    assert not book.appender.recover()
    book.full = False
    assert book.appender.recover()
    for i in range(400, 500):
        book.log({"i": i, "pad": "x" * 100}, i)
    book.close()
    got = [values["i"] for n in book.all_segments() for _, values in read(book, n).records]
    assert sorted(got) == list(range(500))
    assert [key for key, _ in book.reports] == ["journal"]
    assert book.appender.dropped == 0


def test_memory_without_a_segment_has_a_bound_and_counts(tmp_path):
    book = Book(tmp_path, size=16 << 10)
    book.full = True
    for i in range(400):
        book.log({"i": i, "pad": "x" * 100_000}, i)
    assert book.appender.backlog_bytes <= 16 << 20
    assert book.appender.dropped + len(book.appender.backlog) == 400
    assert book.appender.dropped > 200
    book.close()


def test_never_repeated_key_sets_keep_memory_flat(tmp_path):
    book = Book(tmp_path, size=1 << 20)
    for i in range(20_000):
        book.log({f"key-{i}": 1.0, f"other-{i}": 2.0}, i)
    _, _, plans, singles, by_keys = book.appender._get()
    assert len(plans) + len(singles) + len(by_keys) <= 3 * fmt.MAX_SETS
    assert len(book.appender._seen) <= 1 << 15
    book.close()
    got = [step for n in book.all_segments() for step, _ in read(book, n).records]
    assert got == list(range(20_000))


def test_holes_and_fills_are_in_the_format(book):
    import msgspec

    seq = book.appender.stamp()[1]
    hole = msgspec.msgpack.Ext(fmt.EXT_HOLE, b"")
    book.appender.append((time.monotonic_ns(), seq, {"host": 1.0, "device": hole}, 5))
    book.appender.append((fmt.FILL, seq, {"device": 2.5}))
    got = read(book)
    assert got.records == [(5, {"host": 1.0, "device": HOLE})]
    assert got.fills[0].seq == seq
    assert got.fills[0].values == {"device": 2.5}


def test_frames_stamped_after_the_cut_are_held_back(book):
    book.log({"a": 1.0}, 0)
    cut = time.monotonic_ns()
    book.log({"a": 2.0}, 1)
    tailer = Tailer(book.directory / "000000.seg")
    first = tailer.read(before=cut)
    assert first.step.tolist() == [0]
    assert tailer.read(before=cut) is None
    assert tailer.read().step.tolist() == [1]
    tailer.close()


def test_a_tailer_goes_on_from_any_frame(book):
    """Announcements and clocks before the offset still count."""
    for step in range(50):
        book.log({"a": float(step), "b": 1.0, "c": 2.0}, step)
    for start, _ in book.frames()[1:]:
        tailer = Tailer(book.directory / "000000.seg", start)
        part = tailer.read()
        assert part.lost_bytes == 0
        assert part.step[-1] == 49
        assert part.sets[part.set[-1]].keys == ("a", "b", "c")
        tailer.close()


def test_small_reads_add_up(book):
    rows = [{"a": float(step), "b": 1.0} for step in range(300)]
    for step, row in enumerate(rows):
        book.log(row, step)
    assert read(book, limit_bytes=100).records == list(enumerate(rows))


def test_the_posted_words_reach_the_writer(book):
    book.log({"a": 1.0}, 0)
    tailer = Tailer(book.directory / "000000.seg")
    tailer.read()
    tailer.mark_posted(17)
    assert book.segments[0].posted() == (book.segments[0].tell(), 17)
    tailer.close()


def test_wall_time_follows_the_clock_frames(book):
    before = time.time_ns()
    book.log({"a": 1.0}, 0)
    after = time.time_ns()
    tailer = Tailer(book.directory / "000000.seg")
    part = tailer.read()
    assert before - 1_000_000 <= part.wall[0] <= after + 1_000_000
    tailer.close()


def test_a_clock_jump_moves_later_records_only(book):
    book.log({"a": 1.0}, 0)
    mono = time.monotonic_ns()
    book.appender.append((fmt.CLOCK, mono, time.time_ns() + 3_600_000_000_000))
    book.log({"a": 1.0}, 1)
    tailer = Tailer(book.directory / "000000.seg")
    part = tailer.read()
    tailer.close()
    assert part.mono[1] - part.mono[0] < 1_000_000_000
    assert 3_599e9 < part.wall[1] - part.wall[0] < 3_601e9


def test_a_segment_that_does_not_fit_leaves_nothing_behind(tmp_path):
    identity = fmt.SegmentIdentity(nonce=1, size=1 << 60, number=0, stream="s", mono=0, wall=0, pid=1)
    with pytest.raises(OSError):
        Segment(tmp_path / "000000.seg", identity)
    assert list(tmp_path.iterdir()) == []


def test_golden_bytes(tmp_path, monkeypatch, road):
    """The bytes of docs/journal-format.md: a change here is a change of format."""
    from steno.journal import appender, frames, hot_path

    clock = iter(range(0x1000000000, 0x2000000000))
    for module in (appender, frames, hot_path):
        monkeypatch.setattr(module, "_clock", lambda: next(clock))
    book = Book(tmp_path, size=8192, nonce=1)
    book.log({"a": 1.0, "b": 2}, 7)
    book.log({"a": 1.0, "b": 2}, 8)
    book.log({"a": 1.0, "b": 2}, None)
    raw = book.bytes_of()
    frames = [bytes(raw[start:end]).hex() for start, end in book.frames()]
    book.close()
    assert raw[:8] == b"STENOJ01"
    if road == "native":
        # It takes the clock itself, whatever a test would have it say: the last two frames have times of their own.
        frames[3:] = [stamped(frame, wanted) for frame, wanted in zip(frames[3:], GOLDEN[2:], strict=True)]
    assert frames[1:] == GOLDEN


def stamped(frame, wanted):
    """A frame as it would be at another one's time, if its checksum is right."""
    raw = bytearray.fromhex(frame)
    assert fmt.FRAME.unpack_from(raw) == (len(raw) - 8, crc32c.crc32c(raw[8:], 1))
    assert raw[9] == 0xCF
    raw[10:18] = bytes.fromhex(wanted)[10:18]
    raw[4:8] = crc32c.crc32c(raw[8:], 1).to_bytes(4, "little")
    return raw.hex()


GOLDEN = [
    "0d000000cd26df949401ce0001000092a161a162c0",
    "24000000e704971495cf0000001000000000cf0000010000000001ce0001000092cb3ff00000000000000207",
    "24000000fe1b42e795cf0000001000000002cf0000010000000002ce0001000092cb3ff00000000000000208",
    "240000007ef541ff95cf0000001000000003cf0000010000000003ce0001000092cb3ff000000000000002c0",
]


def test_a_file_that_is_no_segment_is_said(tmp_path):
    path = tmp_path / "x.seg"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(CorruptError):
        Tailer(path)
    assert struct.calcsize("<II") == fmt.FRAME_BYTES
    assert os.path.exists(path)


def test_a_handler_that_raises_is_not_swallowed(tmp_path):
    """A program's own timeout, thrown from a signal handler, must reach the program."""
    book = Book(tmp_path)

    class Late(Exception):
        pass

    def handler(*_):
        raise Late

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Late):
            for step in range(10_000_000):
                book.log({"a": 1.0, "b": 2.0}, step)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    book.close()


def test_longdoubles_are_checked_each_time(book):
    for _ in range(3):
        book.log({"x": np.longdouble(0.5), "y": 1.0}, 0)
    book.log({"x": np.longdouble(1) / 3, "y": 1.0}, 1)
    assert [values.get("x") for _, values in read(book).records] == [0.5, 0.5, 0.5, None]
    assert len(book.reports) == 1


def test_a_defaultdict_is_not_touched(book):
    from collections import defaultdict

    for _ in range(3):
        book.log({"a": 1.0, "b": 2.0}, 0)
    data = defaultdict(float, {"a": 1.0, "z": 2.0})
    book.log(data, 1)
    assert set(data) == {"a", "z"}
    assert read(book).records[-1] == (1, {"a": 1.0, "z": 2.0})


def test_a_discarded_spare_does_not_hold_up_its_reader(tmp_path):
    """A tailer that opened it before it was unlinked sees that nothing will come."""
    book = Book(tmp_path)
    spare = book._next(0)
    tailer = Tailer(spare.path)
    spare.discard()
    assert tailer.closed
    assert tailer.drained
    tailer.close()
    book.segments.clear()
    book.close()
