"""The base class of destinations that get each call by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.events.callback import Callback

if TYPE_CHECKING:
    from pathlib import Path

    from steno.events.level import LogLevel
    from steno.events.state import State


class LoggerDestination(Callback):
    """A destination with a method for each kind of thing that is logged, and for each event; override what you want.

    Pass the object in `steno.init(destinations=[...])`. Everything said of `Callback` holds: one thread of its own,
    the order of the calls, nothing raised into training, nothing repeated. There is no need to copy or to queue: the
    run's journal, which the thread reads, is the copy. An object that is more than 64 MiB of journal behind skips the
    oldest records, counted; the run has them. Only what this process logs comes here: each rank has its own object.
    """

    def log_data(self, state: State, log_level: LogLevel, data: dict[str, Any]) -> None:
        """One call of `run.log`.

        Args:
            state: the loop as it stood at the call.
            log_level: what the call said; BATCH if it said nothing.
            data: the values as they were at the call, the keys of nested dicts joined by "/". Numbers, texts and
                lists are as logged, arrays are numpy arrays, media are objects with `kind`, `caption`, `meta` and
                `value`. The call waits for values that are on a device, two seconds at most; one that comes later
                has a call of its own, with the state and the level of its record.
        """

    def log_file_artifact(
        self, state: State, log_level: LogLevel, artifact_name: str, file_path: Path, *, overwrite: bool
    ) -> None:
        """A file was logged as an artifact.

        Args:
            state: the loop as it stood at the call.
            log_level: what the call said; FIT if it said nothing.
            artifact_name: its name in the run.
            file_path: the file as it was at the call, whatever became of the original; there until this returns.
            overwrite: whether it may take the place of an artifact of that name.
        """

    def log_symlink_artifact(
        self,
        state: State,
        log_level: LogLevel,
        existing_artifact_name: str,
        symlink_artifact_name: str,
        *,
        overwrite: bool,
    ) -> None:
        """Another name was given to an artifact.

        Args:
            state: the loop as it stood at the call.
            log_level: what the call said; FIT if it said nothing.
            existing_artifact_name: the artifact.
            symlink_artifact_name: its other name.
            overwrite: whether that may have pointed elsewhere before.
        """
