"""TorchRL's words: a logger with its methods on a run, and the abstract class for loggers of your own."""

from __future__ import annotations

from steno.writers.converted import LateMetrics
from steno.writers.logger import Logger, RunLogger

__all__ = ["LateMetrics", "Logger", "RunLogger"]

for _name in __all__:
    globals()[_name].__module__ = __name__
