"""Staging rows: the scalars of one call gathered on their device and copied to pinned memory, in stream order.

Three things are launched on the stream that is current: one gather per dtype into a row that steno owns, one
copy of the row to pinned memory, and one copy of a mark to a pinned byte of that row. The stream keeps their
order, so when the byte shows the mark the row is complete; the worker polls that byte in host memory and makes
no CUDA call at all, which another thread must not while a graph is captured. What the program does to a tensor
afterwards is launched afterwards.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch

from steno.devices._host import array
from steno.devices.base import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from steno.devices.base import Late, Room

ROWS: Final = 4096
ROW_BYTES: Final = 512
_MARKS: Final = 255
_LAYOUTS: Final = 1 << 14
_WIDEST: Final = 64
"""Scalars per launch: beyond it a gather may need more than one."""
_BITS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
GATHERED: Final = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool}
    | {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)


class Backend(Protocol):
    """What `StagingRows` needs of a device."""

    device: Any

    def stream(self) -> int:
        """Which stream launches go to now."""

    def pinned(self, *shape: int, dtype: Any) -> Any:
        """Host memory for copies that do not wait."""

    def fence(self) -> None:
        """What has been launched on the current stream comes before all launches of `run`, on whatever stream."""

    def hold(self, values: Iterable[Any]) -> None:
        """Keep the memory of these, should they be freed, until what was launched on the current stream has run."""

    def run(self, launch: Callable[[], None]) -> None:
        """Launch on that stream."""


class StagingRows:
    """One device's staging rows. Nothing is allocated per call after a call's layout has been met.

    Thread-safe: a row belongs to one call from the moment it is taken until the worker has read it.
    """

    def __init__(self, backend: Backend, rows: int = ROWS) -> None:
        self._backend = backend
        # Made where tensors of the program may not be: an inference tensor could not be written later.
        with torch.inference_mode(mode=False), torch.no_grad():
            self._staged = torch.empty((rows, ROW_BYTES), dtype=torch.uint8, device=backend.device)
            self._marks = torch.arange(_MARKS + 1, device=backend.device).to(torch.uint8)
            self._host = backend.pinned(rows, ROW_BYTES, dtype=torch.uint8)
            self._flags = backend.pinned(rows, dtype=torch.uint8)
            self._flags.zero_()
            self._mark_views = list(self._marks.unbind())
            self._flag_views = list(self._flags.unbind())
            backend.fence()
        self.flags = self._flags.numpy()
        self._last = [0] * rows
        # Last in, first out: a loop that keeps up uses the same few rows, and their views are made once.
        self._free = list(range(rows - 1, -1, -1))
        self._views: dict[tuple[int, tuple[tuple[Any, int], ...]], tuple[list[Any], Any, Any, list[Any]]] = {}
        self._used: list[Any] = []
        self._abandoned: list[Row] = []
        self._made = threading.Lock()

    @property
    def in_flight(self) -> int:
        """StagingRows on their way."""
        return len(self._last) - len(self._free)

    def begin(self, values: Sequence[Any], places: Sequence[int], room: Room) -> list[Late]:
        """Launch the copies of these tensors of this device, on its current stream.

        Raises:
            Refused: there is no room for any of them; where there was for some, those are started.
            Exception: what torch says; none is started.
        """
        # Freed here, not by the worker: freeing pinned memory records events, which would break a capture.
        self._used.clear()
        if self._abandoned:
            self._regain()
        scalars = [index for index, value in enumerate(values) if value.numel() == 1]
        arrays = [index for index, value in enumerate(values) if value.numel() != 1]
        late: list[Late] = []
        try:
            while scalars or arrays:
                chosen, scalars = scalars[:_WIDEST], scalars[_WIDEST:]
                late.append(self._begin(values, chosen, arrays, places, room))
                arrays = []
        except Refused:
            if not late:
                raise
        except BaseException:
            for row in late:
                row.drop()
            raise
        return late

    def _begin(
        self, values: Sequence[Any], scalars: list[int], arrays: list[int], places: Sequence[int], room: Room
    ) -> Row:
        groups: dict[Any, list[int]] = {}
        for index in scalars:
            groups.setdefault(values[index].dtype, []).append(index)
        # Wide types first, so that every group is aligned.
        ordered = sorted(groups.items(), key=lambda item: -item[0].itemsize)
        layout = tuple((dtype, len(indices)) for dtype, indices in ordered)
        lane = ("cuda", str(self._backend.device), self._backend.stream())
        slot = self._slot(lane, room)
        mark = self._last[slot] % _MARKS + 1
        row = Row(self, slot, mark, lane)
        try:
            targets, staged, host, parts = self._view(slot, layout)
            row.places = [places[index] for _, indices in ordered for index in indices]
            row.places += [places[index] for index in arrays]
            row.parts = parts
            row.arrays = [self._backend.pinned(*values[i].shape, dtype=values[i].dtype) for i in arrays]
            row.size_bytes = ROW_BYTES + sum(one.numel() * one.element_size() for one in row.arrays)

            def launch() -> None:
                # Neither kind of differentiation takes an output that is given; this turns both off.
                with torch.inference_mode():
                    for target, (dtype, indices) in zip(targets, ordered, strict=True):
                        torch.stack([_bits(values[index], dtype) for index in indices], out=target)
                    if staged is not None:
                        host.copy_(staged, non_blocking=True)
                    for pinned, index in zip(row.arrays, arrays, strict=True):
                        pinned.copy_(values[index].detach(), non_blocking=True)
                    self._flag_views[slot].copy_(self._mark_views[mark], non_blocking=True)
                    self._backend.hold(values)

            self._last[slot] = mark
            self._backend.run(launch)
        except BaseException:
            # The mark alone still comes behind whatever was launched, and tells when the row is free again.
            with contextlib.suppress(Exception), torch.inference_mode():
                self._backend.run(lambda: self._flag_views[slot].copy_(self._mark_views[mark], non_blocking=True))
            row.drop()
            raise
        return row

    def _slot(self, lane: tuple[str, str, int], room: Room) -> int:
        while True:
            try:
                return self._free.pop()
            except IndexError:
                self._regain()
                if self._free:
                    continue
                given_up = room.reuse(lane)
                if isinstance(given_up, Row) and given_up.rows is self:
                    # What was launched for it runs before what is launched now, on the same stream.
                    slot = given_up.slot
                    given_up.slot = -1
                    return slot

    def _view(self, slot: int, layout: tuple[tuple[Any, int], ...]) -> tuple[list[Any], Any, Any, list[Any]]:
        """(targets of the gathers, staged bytes, pinned bytes, pinned values by group) of a row."""
        found = self._views.get((slot, layout))
        if found is None:
            with self._made, torch.inference_mode(mode=False):
                if len(self._views) >= _LAYOUTS:
                    self._views.clear()
                staged, host = self._staged[slot], self._host[slot]
                targets: list[Any] = []
                parts: list[Any] = []
                at = 0
                for dtype, count in layout:
                    end = at + count * dtype.itemsize
                    plain = dtype if dtype in GATHERED else _BITS[dtype.itemsize]
                    targets.append(staged[at:end].view(plain))
                    parts.append(host[at:end].view(dtype))
                    at = end
                found = (targets, staged[:at], host[:at], parts) if at else (targets, None, None, parts)
                self._views[slot, layout] = found
        return found

    def _regain(self) -> None:
        for row in list(self._abandoned):
            if row.ready():
                self._abandoned.remove(row)
                self.release(row)

    def abandon(self, row: Row) -> None:
        """Keep a dropped row until the device has written it."""
        if row.slot >= 0:
            self._abandoned.append(row)

    def release(self, row: Row) -> None:
        slot, row.slot = row.slot, -1
        self._used += row.arrays
        row.arrays = []
        if slot >= 0:
            self._free.append(slot)


class Row:
    """One call's values of one device, on their way; see `steno.devices.base.Late`."""

    __slots__ = ("arrays", "lane", "mark", "parts", "places", "rows", "size_bytes", "slot")

    def __init__(self, rows: StagingRows, slot: int, mark: int, lane: tuple[str, str, int]) -> None:
        self.rows = rows
        self.slot = slot
        self.mark = mark
        self.lane = lane
        self.places: list[int] = []
        self.parts: list[Any] = []
        self.arrays: list[Any] = []
        self.size_bytes = ROW_BYTES

    def ready(self) -> bool:
        """Whether the mark has arrived in host memory."""
        return bool(self.rows.flags[self.slot] == self.mark)

    def read(self) -> list[Any]:
        """See `Late.read`."""
        try:
            out = [number for part in self.parts for number in part.tolist()]
            # A copy: the pinned memory goes back before the array is encoded.
            out += [array(pinned).copy() for pinned in self.arrays]
        finally:
            self.rows.release(self)
        return out

    def drop(self) -> None:
        """Let go of the row's memory only when the device has written it: until then it stays in flight."""
        if self.slot >= 0 and self.ready():
            self.rows.release(self)
        else:
            self.rows.abandon(self)


def _bits(value: Any, dtype: Any) -> Any:
    if value.dim():
        value = value.reshape(())
    return value if dtype in GATHERED else value.view(_BITS[dtype.itemsize])
