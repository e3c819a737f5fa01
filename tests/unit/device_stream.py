"""A stream that runs what was launched on it only when it is told to, for tests of the staging rows."""

from __future__ import annotations

from collections import deque

import torch


class Stream:
    """A stand-in for a CUDA device with one stream or more: launches wait in order until `finish`."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.current = 0
        self.queues: dict[int, deque] = {}
        self.allocated = 0
        self.held: list = []

    def stream(self) -> int:
        return self.current

    def pinned(self, *shape, dtype):
        self.allocated += 1
        return torch.empty(shape, dtype=dtype)

    def fence(self) -> None:
        pass

    def hold(self, values) -> None:
        self.held = list(values)

    def run(self, launch) -> None:
        self.queues.setdefault(self.current, deque()).append(launch)

    def finish(self, stream: int = 0, most: int = 1 << 30) -> None:
        queue = self.queues.get(stream, deque())
        while queue and most:
            queue.popleft()()
            most -= 1
