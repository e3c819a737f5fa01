"""`steno.SummaryWriter`: tensorboardX's and torch's writer, on a run."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from steno.errors import UsageError
from steno.writers import values
from steno.writers.place import LogdirHandle, named
from steno.writers.writer import Writer

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping


_LAST_STEP: Final = 2**63 - 1


class SummaryWriter(Writer):
    """Records into a logdir, which is a run: TensorBoard reads its event files, `steno.open(logdir)` the rest.

    Thread-safe, fork-safe and picklable; a forked or spawned child goes on in the same logdir. What an `add_*` has
    returned from survives the process, not the machine's power in the second after it. Arguments that cannot be
    recorded raise `steno.UsageError` (a ValueError) at the call and record nothing; faults of disk or collector never
    raise. Media cost the caller a copy. Two writers on one logdir, in any processes, lose nothing.

    Args:
        logdir: the directory; default `runs/<date>_<host><comment>`. One that was used before goes on.
        comment: behind the default logdir's name; ignored with a logdir.
        purge_step: points logged before, from this step on, are hidden; they are kept.
        max_queue, flush_secs: accepted, and mean nothing: what was added is on its way to the file within 0.3 s.
        filename_suffix: of the event files' names.
        write_to_disk: False: arguments are checked, nothing is recorded.
        log_dir: another name for logdir.
        comet_config: accepted for compatibility; `steno.init(destinations=...)` sends elsewhere.
        strict: raise UsageError where a value would be changed to be recorded; for tests.
        kwargs: accepted for compatibility, ignored.

    Raises:
        UsageError: the directory cannot be used.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,  # noqa: ARG002
        flush_secs: float = 120,  # noqa: ARG002
        filename_suffix: str = "",
        write_to_disk: bool = True,
        log_dir: str | os.PathLike[str] | None = None,
        comet_config: Mapping[str, Any] | None = None,  # noqa: ARG002
        *,
        strict: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        self._purge_step = None if purge_step is None else values.step(purge_step)
        self._place = LogdirHandle(
            named(logdir, log_dir, comment), purge_step=self._purge_step, write=bool(write_to_disk),
            suffix=filename_suffix,
        )  # fmt: skip
        self._strict = bool(strict)
        self._export: dict[str, list[list[Any]]] = {}
        self._defaults: tuple[int | None, float | None] | None = None
        self._lock = threading.Lock()
        self._add = self._first_add

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (str(self._place.path), self._place.suffix, self._place.write, self._strict)

    log_dir = Writer.logdir

    @property
    def purge_step(self) -> int | None:
        """As the constructor was called."""
        return self._purge_step

    # -- numbers --------------------------------------------------------------------------------------------

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        display_name: str | bool = "",
        summary_description: str | bool = "",
        *,
        new_style: bool = False,  # noqa: ARG002 - torch's
        double_precision: bool = False,  # noqa: ARG002 - torch's; the run keeps float64 in any case
    ) -> None:
        """Record a number.

        Args:
            tag: kept exactly as given; "/" groups.
            scalar_value: a number, or an array or tensor of one element. A device's value is read later.
            global_step: None is 0; what is behind the point of a float is cut.
            walltime: seconds since 1970; None: now.
            display_name, summary_description: TensorBoard's title and words for it.
            new_style, double_precision: torch's, here or in the places of those two; accepted, and mean nothing.

        Raises:
            UsageError: no number, no tag, no whole step; nothing was recorded.
        """
        if (
            scalar_value.__class__ is float
            and global_step.__class__ is int
            and global_step <= _LAST_STEP
            and walltime is None
            and tag.__class__ is str
            and not display_name
            and not summary_description
            and tag
        ):
            self._add(tag, scalar_value, global_step)
            return
        words = ["" if isinstance(one, bool) else one for one in (display_name, summary_description)]
        options = {"display": words} if any(words) else {}
        self._put("scalar", tag, self._number(tag, scalar_value), global_step, walltime, **options)

    def _first_add(self, tag: str, value: Any, step: int) -> None:
        """In the place of the journal's own `add` until the logdir is open and while defaults hold."""
        if self._defaults is not None:
            self._put("scalar", tag, value, step, None)
            return
        self._add = self._place.scope("scalar")[0]
        self._add(tag, value, step)

    def _remember(self, main_tag: str, found: Mapping[str, Any], global_step: Any, walltime: Any) -> None:
        global_step, walltime = self._defaulted(global_step, walltime)
        now = time.time() if walltime is None else float(walltime)
        with self._lock:
            for name, value in found.items():
                self._export.setdefault(f"{self.logdir}/{main_tag}/{name}", []).append([now, global_step, value])

    def export_scalars_to_json(self, path: str | os.PathLike[str]) -> None:
        """Write what `add_scalars` was given since the last call: {sub-run's directory: [[time, step, value], …]}.

        Args:
            path: the file, replaced.

        Raises:
            OSError: the file cannot be written; then nothing is forgotten.
        """
        with self._lock:
            taken = {
                key: [[now, step, _plain(value)] for now, step, value in rows] for key, rows in self._export.items()
            }
            with open(path, "w", encoding="utf-8") as file:
                json.dump(taken, file)
            self._export = {}

    # -- defaults -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def use_metadata(self, *, global_step: int | None = None, walltime: float | None = None) -> Iterator[Self]:
        """Within the block, what `add_*` does not get: its step, its time. Holds for all threads of this writer.

        Args:
            global_step: the step of calls without one; None: as outside of the block.
            walltime: seconds since 1970; None: now.

        Returns:
            A context manager, which gives this writer.

        Raises:
            UsageError: neither is given, or another block is around this one.
        """
        if global_step is None and walltime is None:
            raise UsageError("use_metadata needs global_step or walltime")
        if self._defaults is not None:
            raise UsageError("use_metadata within use_metadata: leave the first block before the next")
        step = None if global_step is None else values.step(global_step)
        values.wall_nanos(walltime)
        self._defaults = (step, walltime)
        self._add = self._first_add
        try:
            yield self
        finally:
            self._defaults = None

    def _defaulted(self, step: Any, walltime: Any) -> tuple[Any, Any]:
        if self._defaults is not None:
            step = self._defaults[0] if step is None else step
            walltime = self._defaults[1] if walltime is None else walltime
        # An event without a step is one of step 0, as TensorBoard reads it.
        return 0 if step is None else step, walltime


def _again(logdir: str, suffix: str, write: bool, strict: bool) -> SummaryWriter:
    return SummaryWriter(logdir, filename_suffix=suffix, write_to_disk=write, strict=strict)


def _plain(value: Any) -> float:
    return float(value)
