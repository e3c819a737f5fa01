"""CUDA as the staging rows use it: memory, the current stream, the order of launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_STREAMS: Final = 1024
_DEFAULT: Final = 0


class Cuda:
    """One CUDA device. Everything is called on the caller's thread; the worker only reads pinned memory.

    Not measured on a GPU.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self._index = device.index
        self._made: Any = None
        self._known: set[int] = set()

    def stream(self) -> int:
        """The handle of this device's current stream."""
        return int(torch._C._cuda_getCurrentRawStream(self._index))

    def pinned(self, *shape: int, dtype: Any) -> Any:
        """Host memory that a copy from the device may write while the host goes on."""
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)

    def fence(self) -> None:
        """What has been launched for the rows' own memory on the current stream comes before all launches of `run`.

        Another stream would else use that memory before it is filled, or while something launched earlier, which had
        it before, still writes to it.
        """
        with torch.cuda.device(self._index):
            self._made = torch.cuda.Event()
            self._made.record()
        self._known = {self.stream()}

    def hold(self, values: Iterable[Any]) -> None:
        """Keep the memory of these, should they be freed, until what was launched on the current stream has run.

        On the default stream it is the stream that they are from, or one that waits for it, as torch asks of all who
        use a tensor; asking for each tensor would double what a call costs.
        """
        if self.stream() != _DEFAULT:
            current = torch.cuda.current_stream(self.device)
            for value in values:
                value.record_stream(current)

    def run(self, launch: Callable[[], None]) -> None:
        """Launch on this device's current stream."""
        if torch.cuda.current_device() == self._index:
            self._run(launch)
        else:
            with torch.cuda.device(self._index):
                self._run(launch)

    def _run(self, launch: Callable[[], None]) -> None:
        handle = self.stream()
        if handle not in self._known:
            # The host does not wait, the stream does.
            torch.cuda.current_stream(self.device).wait_event(self._made)
            if len(self._known) >= _STREAMS:
                self._known.clear()
            self._known.add(handle)
        launch()
