"""CUDA as the staging rows use it: memory, the current stream, the order of launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


class Cuda:
    """One CUDA device. Everything is called on the caller's thread; the worker only reads pinned memory.

    Not measured on a GPU.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self._index = device.index

    def stream(self) -> int:
        """The handle of this device's current stream."""
        return int(torch._C._cuda_getCurrentRawStream(self._index))

    def pinned(self, *shape: int, dtype: Any) -> Any:
        """Host memory that a copy from the device may write while the host goes on."""
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)

    def run(self, launch: Callable[[], None]) -> None:
        """Launch on this device's current stream."""
        if torch.cuda.current_device() == self._index:
            launch()
        else:
            with torch.cuda.device(self._index):
                launch()
