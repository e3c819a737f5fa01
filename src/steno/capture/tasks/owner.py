"""Whom the pools of tasks tell how their tasks fare, whoever that is."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from weakref import WeakSet

    from steno.capture.tasks.task import Task


class Owner(Protocol):
    """Whom a pool tells how its tasks fare: `steno.capture.tasks.register.Register`."""

    recorder: Any
    limit: int
    """How many tasks may wait."""
    child_log: tuple[str, str]
    """(module, function) that records in a spawned child."""

    def begin(self, task: Task) -> bool:
        """Whether the task is to be run."""

    def confirm(self, task: Task) -> bool:
        """Whether the task still counts; from here on its Future cannot be cancelled."""

    def succeed(self, task: Task, result: Any, *, recorded: bool = False) -> None:
        """It returned this."""

    def fail(self, task: Task, error: BaseException) -> None:
        """It raised this."""

    def cancel(self, task: Task) -> None:
        """It was cancelled before it had a result."""

    def wait(self) -> None:
        """Wait until no task is left."""

    def close(self, timeout: float | None = None) -> list[str]:
        """Take no more tasks and wait for those there are."""

    def forked(self) -> None:
        """In a forked child: the tasks are the parent's."""


owners: WeakSet[Owner] = weakref.WeakSet()
"""All of this process."""
