"""`steno.GlobalSummaryWriter`: one writer for all threads and processes, whose steps count themselves."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from steno import settings
from steno.errors import UsageError
from steno.writers import values
from steno.writers.place import LogdirHandle, named
from steno.writers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _counting(method: Callable[..., None]) -> Callable[..., None]:
    """A method of `Writer` whose step counts itself: the same but for `global_step`, in signature and help too."""
    parameters = inspect.signature(method).parameters
    at = list(parameters).index("global_step")
    most = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters.values()) - 1
    accepts_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    known = {
        name: None
        for name, one in parameters.items()
        if name not in {"self", "global_step"} and one.kind in {one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY}
    }
    title, takes = f"GlobalSummaryWriter.{method.__name__}", f"it takes {', '.join(known)}"

    @functools.wraps(method)
    def counted(*args: Any, **named: Any) -> None:
        if "global_step" in named:
            raise UsageError(
                f"{title} has no argument 'global_step': this writer numbers the steps itself; leave it out, or use "
                "steno.SummaryWriter to give steps"
            )
        if not accepts_any and not named.keys() <= known.keys():
            unknown = next(name for name in named if name not in known)
            raise UsageError(f"{title} has no argument {unknown!r}; {takes}")
        if len(args) > most:
            raise UsageError(
                f"{title} takes at most {most - 1} positional arguments, and {len(args) - 1} were given; {takes}, and "
                "no global_step: this writer numbers the steps itself"
            )
        if len(args) > at:
            args = (*args[:at], None, *args[at:])
        method(*args, **named)

    counted.__qualname__ = f"GlobalSummaryWriter.{method.__name__}"
    counted.__doc__ = re.sub("(?m)^ *(global_step|torch_\\w+): .*\n|global_step, ", "", method.__doc__ or "")
    counted.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one for name, one in parameters.items() if name != "global_step" and one.kind is not one.VAR_POSITIONAL],
        return_annotation="None",
    )
    return counted


class GlobalSummaryWriter(Writer):
    """The process's one writer: every kind of value is numbered by itself, per kind and tag, from 0.

    Steps are unique and without a gap over the threads of a process, forked and spawned processes and several writers
    on one logdir, and go on when the logdir is opened again: the collector numbers as it posts. A value that is
    refused takes no step. The constructor makes itself what `getSummaryWriter()` returns; in a spawned child that
    joins the parent's logdir. Prints nothing, holds no lock that another process waits for, starts no process but the
    run's collector. Thread-safe, fork-safe, picklable; what survives is said at `SummaryWriter`.

    Args:
        logdir: the directory; default `runs/<date>_<host><comment>`. One that was used before goes on.
        comment: behind the default logdir's name; ignored with a logdir.
        purge_step: points logged before, from this step on, are hidden, and all automatic steps go on from it.
        max_queue, flush_secs: accepted, and mean nothing.
        filename_suffix: of the event files' names.
        write_to_disk: False: arguments are checked, nothing is recorded.
        log_dir: another name for logdir.
        coalesce_process: True: all processes share one event stream and one sequence of steps. False: each process
            has an event stream of its own, `logdir/process-<pid>-<token>/`, and a sequence of its own.
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
        coalesce_process: bool = True,
        *,
        strict: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        global _writer
        self._is_per_process = not coalesce_process
        self._strict = bool(strict)
        self._place = LogdirHandle(
            named(logdir, log_dir, comment), purge_step=None if purge_step is None else values.step(purge_step),
            write=bool(write_to_disk), suffix=filename_suffix, is_per_process=self._is_per_process,
        )  # fmt: skip
        self._add = self._first_add
        with _lock:
            _writer = self
            _live.add(self)
            # For children that multiprocessing spawns; forked ones inherit the writer itself.
            os.environ["STENO_WRITER"] = json.dumps(self._facts())

    def _facts(self) -> dict[str, Any]:
        place = self._place
        return {
            "logdir": str(place.path), "suffix": place.suffix, "write": place.write,
            "is_per_process": self._is_per_process, "strict": self._strict,
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._facts(),)

    @staticmethod
    def getSummaryWriter() -> GlobalSummaryWriter:  # noqa: N802 - the name that programs know
        """The process's writer; made in the parent's logdir, or in a new one, when there is none. Thread-safe.

        After `close` it is the same one, which the next `add_*` opens again.

        Returns:
            The writer.

        Raises:
            UsageError: the directory cannot be used.
        """
        if _writer is not None:
            return _writer
        with _lock:
            if _writer is not None:
                return _writer
            processes = sys.modules.get("multiprocessing.process")
            facts = settings.read("STENO_WRITER")
            if facts and processes is not None and processes.parent_process() is not None:
                return _again(json.loads(facts))
            return GlobalSummaryWriter()

    # -- numbers --------------------------------------------------------------------------------------------

    def add_scalar(self, tag: str, scalar_value: Any, walltime: float | None = None) -> None:
        """Record a number at the tag's next step.

        Args:
            tag: kept exactly as given; "/" groups.
            scalar_value: a number, or an array or tensor of one element. A device's value is read later.
            walltime: seconds since 1970; None: now.

        Raises:
            UsageError: no number or no tag; nothing was recorded, no step taken.
        """
        if scalar_value.__class__ is float and walltime is None and tag.__class__ is str and tag:
            self._add(tag, scalar_value)
            return
        self._put("scalar", tag, self._number(tag, scalar_value), None, walltime)

    def _first_add(self, tag: str, value: Any) -> None:
        """In the place of the journal's own `add` until the logdir is open."""
        self._add = self._place.scope("scalar")[0]
        self._add(tag, value)

    def _defaulted(self, step: Any, walltime: Any) -> tuple[Any, Any]:  # noqa: ARG002 - there is none
        return None, walltime

    # -- all else -------------------------------------------------------------------------------------------

    add_scalars = _counting(Writer.add_scalars)
    add_histogram = _counting(Writer.add_histogram)
    add_histogram_raw = _counting(Writer.add_histogram_raw)
    add_image = _counting(Writer.add_image)
    add_images = _counting(Writer.add_images)
    add_image_with_boxes = _counting(Writer.add_image_with_boxes)
    add_figure = _counting(Writer.add_figure)
    add_video = _counting(Writer.add_video)
    add_audio = _counting(Writer.add_audio)
    add_text = _counting(Writer.add_text)
    add_tensor = _counting(Writer.add_tensor)
    add_pr_curve = _counting(Writer.add_pr_curve)
    add_pr_curve_raw = _counting(Writer.add_pr_curve_raw)
    add_mesh = _counting(Writer.add_mesh)
    add_embedding = _counting(Writer.add_embedding)
    add_hparams = _counting(Writer.add_hparams)


_writer: GlobalSummaryWriter | None = None
_lock = threading.RLock()
_live: weakref.WeakSet[GlobalSummaryWriter] = weakref.WeakSet()


def _again(facts: Mapping[str, Any]) -> GlobalSummaryWriter:
    """The writer that a parent had, in a child: the process's own if it has one on that logdir."""
    with _lock:
        there = _writer
        if there is not None and there._facts() == facts:  # noqa: SLF001 - this file's class
            return there
        return GlobalSummaryWriter(
            facts["logdir"], filename_suffix=facts["suffix"], write_to_disk=facts["write"],
            coalesce_process=not facts["is_per_process"], strict=facts["strict"],
        )  # fmt: skip


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for writer in list(_live):
        if writer._is_per_process:  # noqa: SLF001 - this file's class
            # The child's stream of events is another one.
            writer._add = writer._first_add  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
