"""The native road of the hot path writes what the Python road writes, and nothing that it does can be interrupted."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import itertools
import os
import pydoc
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import weakref
from pathlib import Path
from unittest import mock

import crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_language import Book, Reading

import steno
from steno.journal import format as fmt
from steno.journal import native

MODULE = native._loaded()[0]
needs_native = pytest.mark.skipif(MODULE is None, reason=f"no native road here: {native._loaded()[1]}")


@pytest.fixture
def on(monkeypatch):
    """The native road."""
    if MODULE is None:
        pytest.skip(f"no native road here: {native._loaded()[1]}")
    monkeypatch.setenv("STENO_NATIVE", "require")


@pytest.fixture
def book(on, tmp_path):
    made = Book(tmp_path)
    assert made.appender.native == {"on": True, "why": ""}
    yield made
    made.close()


def opened(place, road, **options):
    with mock.patch.dict(os.environ, STENO_NATIVE={"native": "require", "python": "0"}[road]):
        return Book(place, **options)


def bodies(book):
    """The frames' bodies of all segments, checked, but for times and numbers, which must rise."""
    out, last = [], 0
    for number in book.all_segments():
        raw, nonce = book.bytes_of(number), book.nonce + number
        for start, end in book.frames(number):
            body = bytearray(raw[start + 8 : end])
            assert int.from_bytes(raw[start + 4 : start + 8], "little") == crc32c.crc32c(bytes(body), nonce)
            if body[1] == 0xCF:
                seq = int.from_bytes(body[11:19], "big")
                assert seq > last
                last = seq
                body[2:10] = body[11:19] = bytes(8)
            elif body[1] == fmt.CLOCK:
                body = bytearray(b"clock")
            out.append(bytes(body))
    return out


def calls_of_twin(log):
    """How often a native `log` gave its call to the Python road, counted from here on."""
    code, count = log.__wrapped__.__code__, [0]

    def look(frame, event, _):
        if event == "call" and frame.f_code is code:
            count[0] += 1

    return count, look


def stays_native(log, *calls):
    """Assert that these calls take no step through the interpreter."""
    count, look = calls_of_twin(log)
    sys.setprofile(look)
    try:
        for arguments, named in calls:
            log(*arguments, **named)
    finally:
        sys.setprofile(None)
    assert count == [0]


# -- the same bytes -------------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.sampled_from([s * 2**n + d for n in (5, 7, 8, 15, 16, 31, 32, 63, 64) for s in (1, -1) for d in (-1, 0, 1)]),
    st.booleans(),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.float64, st.floats()),
    st.builds(np.float16, st.floats(width=16)),
    st.builds(np.int8, st.integers(-128, 127)),
    st.builds(np.int64, st.integers(-(2**63), 2**63 - 1)),
    st.builds(np.uint64, st.integers(0, 2**64 - 1)),
    st.builds(np.bool_, st.booleans()),
)
VALUES = st.one_of(
    NUMBERS, NUMBERS, NUMBERS, st.text(max_size=20), st.none(), st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats(), max_size=2), st.builds(np.array, st.lists(st.floats(), max_size=3)),
)  # fmt: skip
STEPS = st.one_of(
    st.none(), st.integers(-(2**65), 2**65), st.integers(0, 70_000), st.booleans(), st.floats(), st.text()
)


@needs_native
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.dictionaries(st.text(max_size=12), VALUES, max_size=20).map(lambda d: dict(sorted(d.items()))), STEPS),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_both_roads_write_the_same_bytes(tmp_path_factory, calls):
    """Whatever is logged, again and again, so that every key set is announced."""
    found = {}
    for road in ("python", "native"):
        book = opened(tmp_path_factory.mktemp(road), road)
        for _ in range(4):
            for data, step in calls:
                book.log(dict(data), step)
        book.close()
        found[road] = bodies(book), sorted(book.reports)
    assert found["python"] == found["native"]


@needs_native
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_order_of_keys_and_whose_object_a_key_is_changes_no_value(tmp_path_factory, data):
    sets = data.draw(
        st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=20, unique=True), min_size=1, max_size=4)
    )
    book = opened(tmp_path_factory.mktemp("j"), "native")
    wanted = []
    for turn in range(5):
        for number, keys in enumerate(sets):
            order = data.draw(st.permutations(keys))
            # New strings, as an f-string makes them.
            record = {"".join([*key]): turn * 1000 + number * 100 + keys.index(key) / 4 for key in order}
            book.log(record, number)
            wanted.append((number, record))
    book.close()
    assert Reading(book.directory / "000000.seg").records == wanted


@pytest.mark.parametrize("width", [1, 2, 15, 16, 17, 200, 217, 218, 219, 1000, 1805, 1813, 1814, 3000])
@pytest.mark.parametrize("value", [0.5, -(2**62), 3], ids=str)
def test_records_of_any_width_are_the_same_bytes(tmp_path, on, width, value):
    """Around the sizes at which the form changes: of msgpack's array, and of the buffer."""
    found = {}
    for road in ("python", "native"):
        place = tmp_path / road
        place.mkdir()
        book = opened(place, road)
        for step in range(4):
            book.log({f"k{n}": value + n for n in range(width)}, step)
        book.close()
        found[road] = bodies(book)
    assert found["python"] == found["native"]


def test_every_half_is_the_same_number(book):
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    pairs = tuple((half, half.item()) for half in every)
    other = type("Other", (np.float16,), {})
    assert MODULE.examine(np.float16, "e", pairs) is True
    assert MODULE.examine(other, "e", pairs) is False
    for half in every[::97]:
        book.log({"x": half, "y": 1.0}, 0)
    got = [values["x"] for _, values in Reading(book.directory / "000000.seg").records]
    np.testing.assert_array_equal(np.array(got), every[::97].astype(float))


KINDS = [np.float64, np.float32, np.float16, np.bool_, np.longlong, np.ulonglong]
KINDS += [np.dtype(f"{sign}int{bits}").type for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_numpy_scalars_stay_on_the_native_road(book, kind):
    for step in range(3):
        book.log({"x": kind(1), "y": kind(0)}, step)
        book.log({"x": kind(1)}, step)
    stays_native(book.log, (({"x": kind(1), "y": kind(0)}, 3), {}), (({"x": kind(1)}, 3), {}))
    assert not book.reports


def test_a_type_whose_layout_is_another_is_not_let_in():
    if MODULE is None:
        pytest.skip("no native road here")
    for kind, code, pairs in [
        (np.longdouble, "d", [(np.longdouble(1.5), 1.5)]),
        (np.float32, "z", [(np.float32(1.5), 1.5)]),
        (type("Odd", (), {}), "d", []),
        (str, "d", [("text", 1.5)]),
        (np.datetime64, "f", [(np.datetime64(5, "s"), 5.0)]),
    ]:
        assert MODULE.examine(kind, code, tuple(pairs)) is False


@pytest.mark.parametrize("size", [*range(40), 215, 4096])
def test_checksums_are_those_of_crc32c(on, size):
    data = np.random.default_rng(size).bytes(size)
    for seed in (0, 1, 2**31, 2**32 - 1):
        wanted = crc32c.crc32c(data, seed)
        assert MODULE.crc32c(data, seed) == MODULE.crc32c_by_table(data, seed) == wanted


# -- what is not of exact types -------------------------------------------------------------------------------


class Words(str):
    """A key or a value that is a string of a type of its own."""

    __slots__ = ()


class Sly:
    """A key that claims to be another one, and empties the dict when it is asked."""

    def __init__(self, data):
        self.data = data

    def __hash__(self):
        return hash("a")

    def __eq__(self, other):
        self.data.clear()
        return True


class Whole(int):
    pass


class Part(float):
    pass


class Book2(dict):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: {Words("a"): 1.0, "b": 2.0},
        lambda: {"a": Words("x"), "b": 2.0},
        lambda: {"a": Whole(3), "b": Part(2.5)},
        lambda: Book2(a=1.0, b=2.0),
        lambda: {"a": None, "b": 1.0},
        lambda: {1: 1.0, "b": 2.0},
        dict,
        lambda: None,
        lambda: [("a", 1.0)],
        lambda: {"a": object(), "b": 1.0},
        lambda: {"a": 2**64, "b": -(2**63) - 1},
        lambda: {"\ud800": 1.0, "b": 2.0},
        lambda: vars(type("Space", (), {"__init__": lambda self: self.__dict__.update(a=1.0, b=2)})()),
    ],
)
def test_what_is_not_exact_takes_the_python_road(tmp_path, on, make):
    found = {}
    for road in ("python", "native"):
        place = tmp_path / road
        place.mkdir()
        book = opened(place, road)
        for step in range(4):
            book.log({"a": 1.0, "b": 2.0}, step)
            book.log(make(), step)
        book.close()
        found[road] = bodies(book), sorted(book.reports)
    assert found["python"] == found["native"]


def test_a_key_that_can_run_code_is_never_asked(book):
    for step in range(3):
        book.log({"a": 1.0, "b": 2.0}, step)
    data: dict = {}
    data[Sly(data)] = 1.0
    data["b"] = 2.0
    book.log(data, 3)
    assert [values for _, values in Reading(book.directory / "000000.seg").records][:3] == [{"a": 1.0, "b": 2.0}] * 3


def test_arguments_are_those_of_the_python_road(book):
    log = book.log
    for _ in range(3):
        log({"a": 1.0})
        log({"a": 1.0, "b": 2.0}, 1)
    stays_native(
        log,
        (({"a": 1.0},), {}),
        (({"a": 1.0}, 5), {}),
        (({"a": 1.0, "b": 1.0},), {"step": 6}),
        (({"a": 1},), {"step": None}),
    )
    log(data={"a": 1.0}, step=7)
    log({"a": 1.0}, 8, level=3)
    log({"a": 1.0}, step=9, arrays=None, level=None)
    log({"a": 1.0}, **{Words("step"): 10})
    for arguments, named in [
        ((), {}),
        (({"a": 1.0},), {"steps": 1}),
        (({}, 1, 2, 3, 4, 5), {}),
        (({}, 1), {"step": 2}),
    ]:
        with pytest.raises(TypeError):
            log(*arguments, **named)
    steps = [step for step, _ in Reading(book.directory / "000000.seg").records]
    assert steps[6:] == [None, 5, 6, None, 7, 8, 9, 10]


def test_keys_that_are_equal_but_not_the_same_stay_native(book):
    names = ["train/loss", "ключ", "💡", ""]
    for step in range(3):
        book.log(dict.fromkeys(names, 1.0), step)
    stays_native(book.log, (({"".join([*name]): 2.0 for name in names}, 3), {}))
    stays_native(book.log, ((dict.fromkeys(names[::-1], 3.0), 4), {}))
    assert Reading(book.directory / "000000.seg").records[3:] == [
        (3, dict.fromkeys(names, 2.0)),
        (4, dict.fromkeys(names, 3.0)),
    ]


# -- the map --------------------------------------------------------------------------------------------------


def test_the_map_is_written_read_and_closed_like_pythons(on, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with open(path, "r+b") as file:
        mapped = MODULE.Map(file.fileno(), 8192)
    assert (len(mapped), mapped.tell(), mapped.closed, mapped.foreign) == (8192, 0, False, False)
    mapped.write(b"abc")
    mapped.write(memoryview(b"def"))
    mapped[6:8] = b"gh"
    assert (mapped.tell(), mapped[:9], mapped[-1:], mapped[9000:]) == (6, b"abcdefgh\0", b"\0", b"")
    mapped.seek(8190)
    with pytest.raises(ValueError, match="full"):
        mapped.write(b"123")
    mapped.write(b"12")
    mapped.write(b"")
    for wrong in (-1, 8193):
        with pytest.raises(ValueError):
            mapped.seek(wrong)
    with pytest.raises(ValueError):
        mapped[0:2] = b"1"
    with pytest.raises(ValueError):
        mapped[0:4:2]
    with pytest.raises(TypeError):
        mapped.write("text")
    with pytest.raises(TypeError):
        mapped[0]
    with pytest.raises(TypeError):
        del mapped[0:1]
    assert path.read_bytes()[:8] == b"abcdefgh"
    assert path.read_bytes()[-2:] == b"12"
    mapped.close()
    mapped.close()
    assert mapped.closed
    for use in (mapped.tell, lambda: mapped.seek(0), lambda: mapped[0:1], lambda: mapped.write(b"x")):
        with pytest.raises(ValueError):
            use()
    with pytest.raises(OSError):
        MODULE.Map(9999, 4096)
    with pytest.raises(ValueError):
        MODULE.Map(0, 0)


def test_a_slice_whose_ends_close_the_map_reads_nothing(on, tmp_path):
    """`__index__` is the program's own code."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    with open(path, "r+b") as file:
        mapped = MODULE.Map(file.fileno(), 4096)

    class Closing:
        def __index__(self):
            mapped.close()
            return 10

    with pytest.raises(ValueError, match="closed"):
        mapped[0 : Closing()]
    with pytest.raises(ValueError, match="closed"):
        mapped[0 : Closing()] = bytes(10)


def test_a_sealed_a_closed_and_a_full_segment_take_nothing_and_lose_nothing(tmp_path, on):
    book = opened(tmp_path, "native", size=8192)
    for step in range(400):
        book.log({"a": float(step), "b": 1.0}, step)
        if step == 200:
            book.segments[-1].map.close()
        if step == 300:
            book.segments[-1].map.seek(8192)
    book.close()
    got = [step for n in book.all_segments() for step, _ in Reading(tmp_path / f"{n:06d}.seg").records]
    assert got == list(range(400))
    book.log({"a": 1.0, "b": 1.0}, 1)
    assert book.reports == [("finish", "closed")]


def test_a_key_set_is_known_only_in_the_segment_that_announced_it(book):
    """A map that was swapped under the call: what was learned for the old one is not used in the new one."""
    for step in range(3):
        book.log({"a": 1.0, "b": 2.0}, step)
    core, token = book.appender._core, book.appender._get()[4]
    assert core.learn(token, None, ("c",), 99) is True
    assert core.learn({}, None, ("d",), 99) is False
    assert core.learn(token, None, ("d", 1), 99) is False
    book.appender.roll()
    assert core.learn(token, None, ("e",), 99) is False
    for step in range(3, 6):
        book.log({"a": 1.0, "b": 2.0}, step)
        book.log({"c": 1.0}, step)
    book.close()
    records = [record for n in book.all_segments() for record in Reading(book.directory / f"{n:06d}.seg").records]
    assert [step for step, values in records if "a" in values] == list(range(6))
    assert [step for step, values in records if "c" in values] == [3, 4, 5]


def test_many_key_sets_are_all_found(book):
    sets = [tuple(f"{name}/{n}" for n in range(1 + at % 7)) for at, name in enumerate(map(str, range(500)))]
    for step in range(3):
        for keys in sets:
            book.log(dict.fromkeys(keys, 1.0), step)
    stays_native(book.log, *[((dict.fromkeys(keys, 2.0), 3), {}) for keys in sets])
    book.close()
    records = [record for n in book.all_segments() for record in Reading(book.directory / f"{n:06d}.seg").records]
    assert records[1500:] == [(3, dict.fromkeys(keys, 2.0)) for keys in sets]


# -- one counter ----------------------------------------------------------------------------------------------


def test_both_roads_count_by_one_counter(book):
    for step in range(4):
        book.log({"a": 1.0, "b": 2.0}, step)
        book.log({"a": "text", "b": 2.0}, step)
        assert book.appender.stamp()[1] == book.appender.last_seq
    seqs = Reading(book.directory / "000000.seg").seqs
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == book.appender.last_seq - 1


# -- threads, forks, kills ------------------------------------------------------------------------------------


def test_threads_of_all_kinds_of_records_lose_nothing(tmp_path, on):
    book = opened(tmp_path, "native", size=64 << 10)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(thread):
        for i in range(3000):
            book.log({"thread": thread, "i": i, "x": "text" if i % 11 == 0 else 0.5})

    crew = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    try:
        for one in crew:
            one.start()
        for one in crew:
            one.join()
    finally:
        sys.setswitchinterval(before)
    book.close()
    seen = {thread: [] for thread in range(6)}
    for number in book.all_segments():
        reading = Reading(tmp_path / f"{number:06d}.seg")
        assert not reading.lost
        for _, values in reading.records:
            seen[values["thread"]].append(values["i"])
    assert all(got == list(range(3000)) for got in seen.values())


FORKED = """
import ctypes, os, sys
import steno
how = sys.argv[1]
run = steno.init(project="p", name="r", dir=sys.argv[2], settings=steno.Settings(collector=False))
for step in range(10):
    run.log({"parent": float(step), "x": 1.0}, step)
# In the child no other thread runs, so none may ask for the interpreter just now.
sys.setswitchinterval(1000)
# Python's own tells whoever asked to be told; that of the C library, as another library may call it, tells nobody.
child = os.fork() if how == "os" else ctypes.PyDLL(None).fork()
name = "child" if child == 0 else "parent"
for step in range(10, 20):
    run.log({name: float(step), "x": 1.0}, step)
if child == 0:
    assert (run.health()["dropped"] >= 10) == (how == "c")
    os._exit(0)
sys.setswitchinterval(0.005)
assert os.waitpid(child, 0)[1] == 0
for step in range(20, 30):
    run.log({"parent": float(step), "x": 1.0}, step)
assert run.health()["native"]["on"]
run.finish(timeout=0)
"""


@pytest.mark.parametrize("how", ["os", "c"])
def test_a_forked_child_never_writes_into_its_parents_segment(tmp_path, on, how):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, how, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("forked by a library that does not tell Python") == (how == "c")
    steno.sync(tmp_path / "p" / "r")
    reader = steno.open(tmp_path / "p" / "r")
    assert reader.series("parent").step.tolist() == list(range(30))
    assert len(reader.series("x").step) == (40 if how == "os" else 30)
    if how == "os":
        assert reader.series("child").step.tolist() == list(range(10, 20))
    reader.close()


def test_a_finalizer_that_runs_in_the_child_before_anything_of_ours_keeps_its_record(book):
    """The map says itself whose it is."""
    for step in range(3):
        book.log({"a": 1.0, "b": 2.0}, step)
    before = book.segments[0].tell()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ok = book.segments[0].map.foreign
            try:
                book.segments[0].map.write(b"x")
                ok = False
            except ValueError:
                pass
            os.write(write, b"1" if ok else b"0")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)
    assert book.segments[0].tell() == before


KILLED = """
import itertools, mmap, os, signal, sys, threading
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from journal_language import Book
book = Book(Path(sys.argv[1]), size=1 << 20)
assert book.appender.native["on"]
marks = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 4096)
for i in itertools.count():
    book.log({"i": i, "a": i / 7, "b": float(i), "c": -i}, i)
    marks[0:8] = (i + 1).to_bytes(8, "little")
    if i == 0:
        print(flush=True)
"""


@pytest.mark.parametrize("turn", range(6))
def test_a_kill_at_any_instruction_loses_no_call_that_has_returned(tmp_path, on, turn):
    marks, place = tmp_path / "marks", tmp_path / "j"
    marks.write_bytes(bytes(4096))
    place.mkdir()
    unit = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(place), str(marks), unit], stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        time.sleep(0.01 + turn * 0.007)
        child.send_signal(signal.SIGKILL)
    returned = int.from_bytes(marks.read_bytes()[:8], "little")
    records = []
    for path in sorted(place.glob("[0-9]*.seg")):
        records += Reading(path).records
    assert returned <= len(records) <= returned + 1
    assert records == [(i, {"i": i, "a": i / 7, "b": float(i), "c": float(-i)}) for i in range(len(records))]


# -- references -----------------------------------------------------------------------------------------------


def test_a_million_calls_leak_no_reference(tmp_path, on):
    book = opened(tmp_path, "native", size=256 << 20)
    record = {f"k{n}": n / 3 for n in range(18)} | {"int": 12345678, "bool": True}
    single, keys, key, text = {"a": 0.5}, tuple(record), "a", "".join([*"longer"])
    add = book.appender.add
    scoped = book.appender.scope({"counter": "scalar"})[0]
    step = 123456789
    for _ in range(3):
        book.log(record, step)
        book.log(single, step)
        scoped(text, 0.5)
    held = [record, single, *record.values(), *keys, key, text, step, None, True, book.log, book.appender._core]

    def million(count):
        log = book.log
        for _ in range(count // 5):
            log(record, step)
            log(single, step=step)
            add(key, 0.25, step)
            scoped(text, 0.5)
            log(record)

    million(1000)
    gc.collect()
    before, blocks = [sys.getrefcount(one) for one in held], sys.getallocatedblocks()
    million(1_000_000)
    gc.collect()
    after, more = [sys.getrefcount(one) for one in held], sys.getallocatedblocks() - blocks
    book.close()
    assert [now - then for now, then in zip(after, before, strict=True) if abs(now - then) > 50] == []
    assert more < 2000


def test_recorders_that_are_gone_are_freed(tmp_path, on):
    for number in range(3):
        place = tmp_path / str(number)
        place.mkdir()
        book = opened(place, "native")
        for step in range(5):
            book.log({"a": 1.0, "b": np.float32(2)}, step)
        book.appender.scope({"counter": "x"})[0]("a", 1.0)
        gone = [weakref.ref(book.log), weakref.ref(book.appender)]
        book.close()
        del book
        gc.collect()
        assert [one() for one in gone] == [None, None]


def test_a_log_that_outlives_its_core_says_so(book):
    """What the garbage collector has taken apart may still be called by a finalizer."""
    log = book.appender._core.log(lambda *_, **__: None)
    log.__wrapped__ = None
    assert log({"never": 1.0}) is None


# -- what others see of it ------------------------------------------------------------------------------------


def test_it_is_as_a_function_to_whoever_looks_at_it(tmp_path, road):
    run = steno.init(project="p", dir=tmp_path, settings=steno.Settings(collector=False))
    try:
        looked_at(run)
    finally:
        run.finish(timeout=0)
    steno.sync(run.dir)
    assert steno.open(run.dir).series("a").value.tolist() == [1.0, 2.0, 4.0]


def looked_at(run):
    log = run.log
    assert [*inspect.signature(log).parameters][:2] == ["data", "step"]
    assert inspect.signature(log).parameters["step"].default is None
    assert log.__name__ == "log"
    assert "Record what happens at this step" in log.__doc__
    assert "Record what happens at this step" in pydoc.render_doc(log)
    assert callable(log)
    assert weakref.ref(log)() is log
    assert {log: 1}[log] == 1
    assert copy.copy(log) is copy.deepcopy(log) is log
    log.mark = 1
    assert log.mark == 1
    functools.partial(log, step=3)({"a": 1.0})
    wrapped = functools.wraps(log)(lambda *a, **k: log(*a, **k))
    wrapped({"a": 2.0}, 4)
    assert inspect.signature(wrapped) == inspect.signature(log)
    with mock.patch.object(run, "log") as fake:
        run.log({"a": 3.0}, 5)
    fake.assert_called_once_with({"a": 3.0}, 5)
    with mock.patch.object(run, "log", autospec=True) as fake:
        run.log({"a": 3.0}, step=5)
        with pytest.raises(TypeError):
            run.log()
    with mock.patch.object(run, "log", wraps=log) as fake:
        run.log({"a": 4.0}, 5)
    assert run.log is log


def test_the_call_that_torch_finds_does_what_a_call_does(book):
    kind = type(book.log)
    kind.__call__(book.log, {"a": 1.0}, step=3)
    assert Reading(book.directory / "000000.seg").records == [(3, {"a": 1.0})]
    assert inspect.isfunction(kind.__dict__["__call__"])


# -- which road -----------------------------------------------------------------------------------------------


def run_with(code, tmp_path, **env):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


SAYS = """
import steno
run = steno.init(project="p", settings=steno.Settings(collector=False))
for step in range(5):
    run.log({"a": 1.0}, step)
print(run.health()["native"], type(run.log).__module__)
run.finish(timeout=0)
"""


def test_health_says_which_road_is_taken_and_why(tmp_path, road):
    done = run_with(SAYS, tmp_path)
    assert done.returncode == 0, done.stderr
    if road == "python":
        assert done.stdout == "{'on': False, 'why': 'STENO_NATIVE=0'} builtins\n"
    else:
        assert done.stdout == "{'on': True, 'why': ''} steno.journal._native\n"


MISSING = "import sys; sys.modules['steno.journal._native'] = None\n"
OLD = """
import sys, types
sys.modules["steno.journal._native"] = types.SimpleNamespace(API=0)
"""


@pytest.mark.parametrize(("fault", "why"), [(MISSING, "was not built"), (OLD, "another version")])
def test_without_the_module_the_python_road_is_taken_unless_it_is_required(tmp_path, fault, why):
    done = run_with(fault + SAYS, tmp_path, STENO_NATIVE="1")
    assert done.returncode == 0, done.stderr
    assert "'on': False" in done.stdout
    assert why in done.stdout
    done = run_with(fault + SAYS, tmp_path, STENO_NATIVE="require")
    assert done.returncode != 0
    assert "UsageError: STENO_NATIVE=require" in done.stderr
    assert why in done.stderr


def test_a_word_that_is_none_is_refused(tmp_path):
    done = run_with(SAYS, tmp_path, STENO_NATIVE="maybe")
    assert done.returncode != 0
    assert "STENO_NATIVE='maybe'" in done.stderr


def test_doctor_says_which_road_is_taken(tmp_path, road):
    code = "import sys; from steno.cli import main; sys.argv = ['steno', 'doctor']; main()"
    done = run_with(code, tmp_path)
    assert "hot path: " + {"python": "Python (STENO_NATIVE=0)", "native": "native"}[road] in done.stdout


def test_an_interpreter_without_the_gil_takes_the_python_road():
    """There the module is not built: it would turn the GIL on again."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter has a GIL")
    assert MODULE is None
    assert not sys._is_gil_enabled()


# -- writers --------------------------------------------------------------------------------------------------


def test_writers_numbers_stay_native_and_are_the_same_bytes(tmp_path, on):
    found = {}
    for road in ("python", "native"):
        place = tmp_path / road
        place.mkdir()
        book = opened(place, road)
        adds = [
            book.appender.scope({"counter": "scalar"})[0],
            book.appender.scope({"counter": "other"})[0],
            book.appender.add,
        ]
        for turn, (add, tag) in itertools.product(range(4), itertools.product(adds, ("loss", "ключ", "x" * 300))):
            for value in (0.5, turn, -turn, True, np.float32(turn), np.int64(-turn), 2**64, "text"):
                add("".join([*tag]), value)
                add(tag, value, turn * 1000)
        book.close()
        found[road] = bodies(book), book.reports
    assert found["python"] == found["native"]


def test_a_check_of_a_new_tag_or_an_odd_step_is_asked_on_both_roads(tmp_path, road):
    book, asked = opened(tmp_path, road), []
    add = book.appender.scope({"counter": "x"}, lambda key, step: asked.append((key, step)))[0]
    for step in (1, 2, 3, 2**70):
        add("tag", 1.5, step)
    book.close()
    assert asked == [("tag", 1), ("tag", 2**70)]
