"""The run as a callback sees it: Composer's names on `run.log` and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.events.level import LogLevel
from steno.events.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
        configure: Callable[[Mapping[str, Any]], None],
        destinations: tuple[Any, ...] = (),
    ) -> None:
        self._log = log
        self._configure = configure
        self.run_name = run_name
        self.destinations = destinations
        """What the run's destinations are in this process: objects, and the names of the others."""
        self.state = State(run_name)
        """The state that was handed to the destination last."""

    def data(self, log_level: Any, data: Mapping[str, Any]) -> None:
        """Record a dict of values; the level as a `LogLevel`, its number or its name.

        Raises:
            ValueError: an unknown level.
        """
        self._log(data, int(self.state.timestamp.batch), level=LogLevel(log_level))

    def data_fit(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in a training."""
        self.data(LogLevel.FIT, data)

    def data_epoch(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in an epoch."""
        self.data(LogLevel.EPOCH, data)

    def data_batch(self, data: Mapping[str, Any]) -> None:
        """Record what is said once in a batch."""
        self.data(LogLevel.BATCH, data)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record a dict of values under a step; None: the batch."""
        self._log(metrics, int(self.state.timestamp.batch) if step is None else step)

    def log_hyperparameters(self, hyperparameters: Mapping[str, Any]) -> None:
        """Merge values into the run's configuration."""
        self._configure(hyperparameters)
