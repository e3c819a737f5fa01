"""Staging rows: what was launched is read in stream order, and nothing waits."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from device_stream import Stream  # noqa: E402

from steno.capture.late.device_queue import Account, DeviceQueue  # noqa: E402
from steno.devices._cuda import Cuda  # noqa: E402
from steno.devices._staging import StagingRows  # noqa: E402
from steno.devices._torch import TorchAdapter  # noqa: E402
from steno.devices.base import Refused  # noqa: E402


class NoRoom:
    def reuse(self, lane):
        raise Refused("full")


def begin(rows, values, room=None):
    return rows.begin(values, list(range(len(values))), room or NoRoom())


def values_of(late, count):
    out = [None] * count
    for row in late:
        for place, value in zip(row.places, row.read(), strict=True):
            out[place] = value
    return out


def test_a_row_is_not_ready_before_the_stream_has_written_it():
    stream = Stream()
    rows = StagingRows(stream, 4)
    (row,) = begin(rows, [torch.tensor(1.5)])
    assert not row.ready()
    stream.finish()
    assert row.ready()
    assert row.read() == [1.5]
    assert rows.in_flight == 0


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, 3.140625), (torch.float64, 1e300), (torch.float16, 0.5), (torch.bfloat16, 3.140625),
        (torch.float8_e4m3fn, 1.5), (torch.float8_e5m2, 1.5), (torch.bool, True), (torch.uint8, 255),
        (torch.int8, -128), (torch.int16, -3), (torch.int32, 2**31 - 1), (torch.int64, 2**63 - 1),
        (torch.uint16, 65535), (torch.uint32, 2**32 - 1), (torch.uint64, 2**63 + 5),
    ],
)  # fmt: skip
def test_every_dtype_comes_back_exactly(dtype, value):
    stream = Stream()
    rows = StagingRows(stream, 4)
    late = begin(rows, [torch.tensor(value, dtype=dtype), torch.tensor(2.0)])
    stream.finish()
    got, other = values_of(late, 2)
    assert got == value
    assert type(got) is type(value)
    assert other == 2.0


def test_mixed_dtypes_shapes_and_gradients_keep_their_places():
    stream = Stream()
    rows = StagingRows(stream, 4)
    weight = torch.nn.Parameter(torch.tensor([[4.0]]))
    given = [
        torch.tensor(1, dtype=torch.int64), weight, torch.tensor(True), torch.arange(6.0).reshape(2, 3),
        (weight * 2).sum(), torch.tensor([0.25], dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16),
    ]  # fmt: skip
    late = begin(rows, given)
    stream.finish()
    got = values_of(late, len(given))
    assert got[0] == 1
    assert got[1] == 4.0
    assert got[2] is True
    assert np.array_equal(got[3], np.arange(6.0).reshape(2, 3))
    assert got[4] == 8.0
    assert got[5] == 0.25
    assert np.array_equal(got[6], np.ones(3))
    assert weight.requires_grad


def test_a_change_launched_after_the_call_is_not_seen():
    """In place, zeroed, or freed and used again: 10,000 times."""
    stream = Stream()
    rows = StagingRows(stream, 64)
    for turn in range(10_000 // 50):
        late = []
        x = torch.zeros(())
        for index in range(50):
            value = float(turn * 50 + index)
            stream.run(lambda x=x, value=value: x.fill_(value))
            late.append((value, begin(rows, [x])[0]))
            stream.run([lambda x=x: x.add_(1), lambda x=x: x.zero_(), lambda x=x: x.data.fill_(-1)][index % 3])
        stream.finish()
        for value, row in late:
            assert row.read() == [value]


def test_nothing_is_allocated_per_call_once_a_layout_is_known():
    stream = Stream()
    rows = StagingRows(stream, 16)
    given = [torch.tensor(float(i)) for i in range(20)]
    views = None
    for _ in range(100):
        (row,) = begin(rows, given)
        stream.finish()
        row.read()
        assert views is None or len(rows._views) == views
        views = len(rows._views)
    assert stream.allocated == 2


def test_more_scalars_than_a_row_holds_take_several_rows():
    stream = Stream()
    rows = StagingRows(stream, 8)
    given = [torch.tensor(i) for i in range(200)]
    late = begin(rows, given)
    stream.finish()
    assert len(late) == 4
    assert values_of(late, 200) == list(range(200))
    assert rows.in_flight == 0


def test_when_all_rows_are_on_their_way_the_oldest_is_given_up_and_the_newest_is_right():
    stream = Stream()
    rows = StagingRows(stream, 4)
    queue, account = DeviceQueue(), Account(full="oldest")
    queue._start = lambda: None  # nobody reads meanwhile
    got = []
    x = torch.zeros(())
    for value in range(10):
        stream.run(lambda value=value: x.fill_(value))
        (row,) = rows.begin([x], [0], queue.room(account))
        queue.submit(row, got.append, account)
    assert account.given_up == 6
    assert account.waiting == 4
    stream.finish(most=13)  # the sixth value's copies have been made, in the row that the tenth one has now
    queue._turn()
    assert got == []
    stream.finish()
    queue._turn()
    assert sorted(got) == [[6.0], [7.0], [8.0], [9.0]]
    assert account.waiting == 0
    assert rows.in_flight == 0


def test_a_row_in_flight_on_another_stream_is_never_reused():
    stream = Stream()
    rows = StagingRows(stream, 2)
    queue, account = DeviceQueue(), Account(full="oldest")
    queue._start = lambda: None
    for value in (1.0, 2.0):
        (row,) = rows.begin([torch.tensor(value)], [0], queue.room(account))
        queue.submit(row, [].append, account)
    stream.current = 1
    with pytest.raises(Refused):
        rows.begin([torch.tensor(3.0)], [0], queue.room(account))
    assert account.given_up >= 1


def test_newest_gives_up_what_comes_last():
    stream = Stream()
    rows = StagingRows(stream, 2)
    queue, account = DeviceQueue(), Account(full="newest")
    queue._start = lambda: None
    got = []
    for value in (1.0, 2.0, 3.0):
        try:
            (row,) = rows.begin([torch.tensor(value)], [0], queue.room(account))
        except Refused:
            continue
        queue.submit(row, got.append, account)
    stream.finish()
    queue._turn()
    assert got == [[1.0], [2.0]]
    assert account.given_up == 1


def test_a_dropped_row_is_free_again_only_when_the_device_has_written_it():
    stream = Stream()
    rows = StagingRows(stream, 1)
    (row,) = begin(rows, [torch.tensor(1.0)])
    row.drop()
    with pytest.raises(Refused):
        begin(rows, [torch.tensor(2.0)])
    stream.finish()
    (row,) = begin(rows, [torch.tensor(2.0)])
    stream.finish()
    assert row.read() == [2.0]


def test_a_launch_that_fails_loses_no_row():
    stream = Stream()
    stream.run = lambda launch: launch()
    rows = StagingRows(stream, 2)
    for _ in range(10):
        with pytest.raises(RuntimeError):
            rows._begin([torch.ones(2)], [0], [], [0], NoRoom())  # two elements do not fit one place
    assert begin(rows, [torch.tensor(5.0)])[0].read() == [5.0]


def test_rows_made_in_inference_mode_serve_outside_it():
    stream = Stream()
    with torch.inference_mode():
        rows = StagingRows(stream, 2)
        late = begin(rows, [torch.tensor(1.0)])
    late += begin(rows, [torch.tensor(2.0)])
    stream.finish()
    assert [row.read() for row in late] == [[1.0], [2.0]]


def test_where_there_is_room_for_some_of_many_scalars_those_come_and_no_row_is_lost():
    stream = Stream()
    rows = StagingRows(stream, 1)
    (row,) = begin(rows, [torch.tensor(float(i)) for i in range(100)])
    stream.finish()
    assert row.read() == [float(i) for i in range(64)]
    assert rows.in_flight == 0


def test_a_launch_that_fails_behind_others_of_its_call_loses_no_row():
    stream = Stream()
    stream.run = lambda launch: launch()
    rows = StagingRows(stream, 4)
    sparse = torch.ones(1).to_sparse()  # has one element, and cannot be gathered
    for _ in range(10):
        with pytest.raises(RuntimeError):
            begin(rows, [*[torch.tensor(1.0)] * 64, sparse])
    assert begin(rows, [torch.tensor(5.0)])[0].read() == [5.0]
    assert rows.in_flight == 0


@pytest.fixture
def adapter(monkeypatch):
    """torch's adapter, all tensors taken for those of a device that runs at once."""
    stream = Stream()
    stream.run = lambda launch: launch()
    rows = StagingRows(stream, 5)

    def cloned(values, places):
        (row,) = rows.begin(values, places, NoRoom())
        return row

    monkeypatch.setattr("steno.devices._torch.Cloned", cloned)
    made = TorchAdapter()
    made.rows = rows
    return made


def test_a_value_that_cannot_be_copied_costs_only_itself(adapter):
    sparse = torch.ones(1).to_sparse()
    got = values_of(adapter.begin([torch.tensor(1.0), sparse, torch.tensor(3.0)], NoRoom()), 3)
    assert (got[0], got[2]) == (1.0, 3.0)
    assert isinstance(got[1], Refused)
    assert adapter.rows.in_flight == 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_what_is_being_differentiated_is_copied_as_it_is(adapter):
    begun = []

    def loss(x):
        doubled = x * 2
        begun.append(adapter.begin([doubled, torch.stack([x, doubled]), torch.tensor(7.0)], NoRoom()))
        return doubled * x

    x, one = torch.tensor(3.0), torch.tensor(1.0)
    assert torch.func.grad(loss)(x) == 12.0
    assert torch.func.grad(torch.func.grad(loss))(x) == 4.0
    assert torch.func.jvp(loss, (x,), (one,))[1] == 12.0
    with torch.autograd.forward_ad.dual_level():
        loss(torch.autograd.forward_ad.make_dual(x, one))
    watched = x.clone().requires_grad_()
    loss(watched).backward()
    assert watched.grad == 12.0
    assert len(begun) == 5
    for late in begun:
        value, many, other = values_of(late, 3)
        assert (value, many.tolist(), other) == (6.0, [3.0, 6.0], 7.0)
    assert adapter.rows.in_flight == 0


def test_what_vmap_computes_together_is_refused():
    def loss(x):
        with pytest.raises(Refused, match="vmap"):
            TorchAdapter().now(x)
        return x

    torch.func.vmap(loss)(torch.arange(3.0))


class Library:
    """What `Cuda` asks of torch.cuda, and what it was asked, in order."""

    def __init__(self, monkeypatch):
        self.handle, self.device, self.told = 0, 0, []
        library = self

        class Event:
            def record(self):
                library.told.append(("record", library.device, library.handle))

        class Current:
            def wait_event(self, event):
                library.told.append(("wait", library.device, library.handle))

        class Device:
            def __init__(self, index):
                self.index = index

            def __enter__(self):
                self.before, library.device = library.device, self.index

            def __exit__(self, *_):
                library.device = self.before

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "device", Device)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Current())
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.device)
        monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: self.handle, raising=False)

    def launch(self):
        self.told.append(("launch", self.device, self.handle))


def test_another_stream_waits_once_until_the_rows_are_made_and_the_host_does_not(monkeypatch):
    library = Library(monkeypatch)
    cuda = Cuda(torch.device("cuda", 1))
    cuda.fence()
    cuda.run(library.launch)
    library.handle = 77
    cuda.run(library.launch)
    cuda.run(library.launch)
    assert library.told == [
        ("record", 1, 0), ("launch", 1, 0), ("wait", 1, 77), ("launch", 1, 77), ("launch", 1, 77),
    ]  # fmt: skip
    assert library.device == 0


def test_what_is_freed_on_a_side_stream_is_kept_until_it_has_been_copied(monkeypatch):
    library = Library(monkeypatch)
    cuda = Cuda(torch.device("cuda", 0))

    class Value:
        def record_stream(self, stream):
            library.told.append("kept")

    cuda.hold([Value()])
    assert library.told == []
    library.handle = 77
    cuda.hold([Value(), Value()])
    assert library.told == ["kept", "kept"]
