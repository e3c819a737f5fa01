"""The run that an integration records into: whose it is, when it is made, who ends it."""

from __future__ import annotations

import json
import mmap
import os
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

import steno
from steno.errors import UsageError
from steno.face import init_additional

if TYPE_CHECKING:
    from collections.abc import Mapping

FLUSH_SECS: Final = 2.0
_FIRST: Final = frozenset({"config", "destinations", "tags", "notes", "group"})
_made: weakref.WeakSet[steno.Run] = weakref.WeakSet()
"""Runs that integrations made: one integration does not take another's for the user's."""


class TargetRun:
    """One run: the one that was given; else, without options, the user's current one; else one of its own.

    Its own is made at the first `take`, next to any other, and only its own is ended by `end`. Used again after its
    end it goes on as the run's next attempt. A pickled copy records into the same run, from its own process; so do
    a forked child and its parent, whichever of them made it.

    Args:
        run: a run to record into; its owner ends it.
        options: what `steno.init` takes, for a run of its own.

    Raises:
        UsageError: both were given.
    """

    def __init__(self, run: steno.Run | None, options: Mapping[str, Any]) -> None:
        if run is not None and options:
            msg = f"run= is there already and {', '.join(options)} would make another: leave out one of them"
            raise UsageError(msg)
        self._given = run
        self._options = dict(options)
        self._own: steno.Run | None = None
        self._home = self._maker = os.getpid()
        # Shared with forked children: what one of them has made, for whoever comes next.
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)

    def seen(self) -> steno.Run | None:
        """The run as far as there is one; makes none."""
        if self._given is not None or self._own is not None:
            return self._given or self._own
        current = steno.current()
        return current if current is not None and not self._options and current not in _made else None

    def take(self, **more: Any) -> steno.Run:
        """The run, made or continued now if need be.

        Args:
            more: options for a run of its own, where the user gave none of the same name.

        Raises:
            UsageError, RunNotFoundError, RunExistsError, DestinationError: as `steno.init`.
        """
        run = self.seen()
        if run is None or (run is self._own and run.ended):
            before = json.loads(self._shared[:].rstrip(b"\0") or b"{}") if run is None else _again(run)
            run = self._own = init_additional(**{**more, **self._options, **before})
            self._maker = os.getpid()
            _made.add(run)
            self._share(_again(run))
        return run

    def _share(self, again: Mapping[str, Any]) -> None:
        text = json.dumps(again).encode()
        if len(text) <= len(self._shared):
            self._shared[:] = text.ljust(len(self._shared), b"\0")

    def flush(self) -> None:
        """Wait, two seconds at most, until what was logged can be read.

        A run that a forked child has made ends here: the child ends without a word, and its parent goes on with it.
        """
        run = self.seen()
        if run is self._own and self._maker == os.getpid() != self._home:
            self.end()
        elif run is not None and not run.ended:
            run.flush(FLUSH_SECS)

    def end(self, error: BaseException | None = None) -> None:
        """End a run of its own, as failed if there is an error; leave any other as it is."""
        run = self._own
        if run is not None and not run.ended:
            run.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)

    def leave(self) -> None:
        """End a run of its own; the next `take` makes a new one."""
        self.end()
        self._own = None
        self._share({})

    def __getstate__(self) -> dict[str, Any]:
        run = self.seen()
        if run is None:
            return {"options": self._options}
        # The run has the others already.
        kept = {key: value for key, value in self._options.items() if key not in _FIRST}
        return {"options": {**kept, **_again(run)}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(None, state["options"])  # type: ignore[misc]


class EndsOwnRun:
    """How a user ends an integration that has a `TargetRun`."""

    _target: TargetRun

    def finish(self) -> None:
        """End a run of its own, as `steno.Run.finish` does; a run of the caller's is left as it is."""
        self._target.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._target.end(error)


def _again(run: steno.Run) -> dict[str, Any]:
    """`init`'s arguments that join a run, or continue it after its end."""
    return {"project": run.project, "name": run.name, "dir": str(run.dir.parent.parent), "resume": True, "rewind": None}
