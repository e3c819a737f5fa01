"""The error tree.

StenoError
├── UsageError (ValueError)        bad input where the user can act: init, the command line, reading
│   ├── RunNotFoundError           no run at that path or of that name
│   ├── RunExistsError             resume=False and the run is there
│   └── DestinationError           unknown or misconfigured destination
├── NoRunError (RuntimeError)      steno.log before steno.init
├── ClosedError (RuntimeError)     used after finish
├── TaskError (RuntimeError)       in a Future: an async_log task that could not run or be recorded
├── RecordError (ValueError)       strict=True only: a value or step that cannot be recorded
└── CorruptError                   bytes that are not what the format says; readers count and go on

Control flow of a destination, raised by its write():
Retry (Exception)                  try the same batch again later
Skip (Exception)                   give up these records, count them
Stop (Exception)                   misconfigured: said once, no more batches
"""

from __future__ import annotations

from steno.visible import visible


class StenoError(Exception):
    """Base of everything steno raises."""

    def __str__(self) -> str:
        # Messages name keys, paths and what a run says; most of them end in a terminal.
        return visible(super().__str__())


class UsageError(StenoError, ValueError):
    """Bad input where the user can act; the message says what, why and the remedy."""


class RunNotFoundError(UsageError):
    """No run at that path or of that name."""


class RunExistsError(UsageError):
    """The run exists already and `resume=False` was asked for."""


class DestinationError(UsageError):
    """Unknown or misconfigured destination."""


class NoRunError(StenoError, RuntimeError):
    """A function that needs a current run was called before `steno.init`."""


class ClosedError(StenoError, RuntimeError):
    """The run was used after `finish`."""


class TaskError(StenoError, RuntimeError):
    """An `async_log` task that could not run, or whose result could not be recorded; its Future has it."""


class RecordError(StenoError, ValueError):
    """A value or step that cannot be recorded; raised only under `strict=True`."""


class CorruptError(StenoError):
    """Bytes that are not what the format says."""


class Retry(Exception):  # noqa: N818 - a verb for destinations, not an error
    """Raised by a destination's `write`: try the same batch again, later."""


class Skip(Exception):  # noqa: N818
    """Raised by a destination's `write`: give up these records and count them.

    Args:
        records: record numbers to give up; empty means the whole batch.
    """

    def __init__(self, records: tuple[int, ...] | list[int] = (), reason: str = "") -> None:
        super().__init__(reason or "records skipped")
        self.records = tuple(records)


class Stop(Exception):  # noqa: N818
    """Raised by a destination: misconfigured, no retry will help; said once."""


def safe_repr(value: object) -> str:
    """A value or an exception as text; never raises, whatever its repr does."""
    try:
        return repr(value)[:2000]
    except BaseException:
        return type(value).__name__
