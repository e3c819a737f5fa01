"""The run as a callback sees it: Composer's names on `run.log` and its kin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from steno.events.level import LogLevel
from steno.events.state import State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

_FIELD: Final = re.compile(r"(?<!\{)\{(epoch|batch)(?::([^{}]*))?\}(?!\})")


class EventLogger:
    """What an event method logs with. What is logged here is recorded as by `run.log`, and never waits.

    Records get the batch that the loop stood at as their step, so that they fit the loop's own although the event is
    handled behind it. Made by steno; for any thread, though the batch is that of the event being handled.
    """

    def __init__(
        self,
        run_name: str,
        *,
        log: Callable[..., None],
        run: Callable[[], Any],
        destinations: tuple[Any, ...] = (),
    ) -> None:
        self._log = log
        self._run = run
        self.run_name = run_name
        self.destinations = destinations
        """What the run's destinations are in this process: objects, and the names of the others."""
        self.state = State(run_name)
        """The state that was handed to the destination last."""

    def data(self, log_level: Any, data: Mapping[str, Any]) -> None:
        """Record a dict of values at a level.

        Args:
            log_level: a `LogLevel`, its number or its name.
            data: values by key, as for `Run.log`.

        Raises:
            ValueError: an unknown level.
        """
        self._log(data, int(self.state.timestamp.batch), level=LogLevel(log_level))

    def data_fit(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in a training.

        Args:
            data: values by key, as for `Run.log`.
        """
        self.data(LogLevel.FIT, data)

    def data_epoch(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in an epoch.

        Args:
            data: values by key, as for `Run.log`.
        """
        self.data(LogLevel.EPOCH, data)

    def data_batch(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in a batch.

        Args:
            data: values by key, as for `Run.log`.
        """
        self.data(LogLevel.BATCH, data)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record a dict of values under a step.

        Args:
            metrics: values by key, as for `Run.log`.
            step: None: the batch that the loop stood at.
        """
        self._log(metrics, int(self.state.timestamp.batch) if step is None else step)

    def log_hyperparameters(self, hyperparameters: Mapping[str, Any]) -> None:
        """Merge values into the run's configuration.

        Args:
            hyperparameters: plain values by key.
        """
        self._run().config.update(hyperparameters)

    def file_artifact(
        self, log_level: Any, artifact_name: str, file_path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Keep a file with the run, as it is now.

        Args:
            log_level: a `LogLevel`, its number or its name.
            artifact_name: its name; fields are filled in, {epoch} and {batch} by the state.
            file_path: the file or directory.
            overwrite: whether the name may be taken already.

        Raises:
            ValueError: an unknown level.
            OSError, steno.UsageError, steno.ClosedError: as `Run.log_artifact`.
        """
        level, name = LogLevel(log_level), self._placed(artifact_name)
        self._run().log_artifact(file_path, name, overwrite, step=int(self.state.timestamp.batch), level=level)

    def symlink_artifact(
        self, log_level: Any, existing_artifact_name: str, symlink_artifact_name: str, overwrite: bool = False
    ) -> None:
        """Give an artifact another name.

        Args:
            log_level: a `LogLevel`, its number or its name.
            existing_artifact_name, symlink_artifact_name: names, with fields as for `file_artifact`.
            overwrite: whether the new name may be taken already.

        Raises:
            ValueError: an unknown level.
            OSError, steno.UsageError, steno.ClosedError: as `Run.link_artifact`.
        """
        level, names = LogLevel(log_level), map(self._placed, (existing_artifact_name, symlink_artifact_name))
        self._run().link_artifact(*names, overwrite, step=int(self.state.timestamp.batch), level=level)

    def _placed(self, name: str) -> str:
        stamp = self.state.timestamp
        known = {"epoch": int(stamp.epoch), "batch": int(stamp.batch)}
        return _FIELD.sub(lambda found: format(known[found[1]], found[2] or ""), name)
