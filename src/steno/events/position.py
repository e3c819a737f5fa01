"""The epoch and the batch that a loop's events have come to, known at once in the loop's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from steno.events.event import ASIDE, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES: Final = frozenset(event.value for event in Event if event not in ASIDE)


class Position:
    """What the timestamp of `steno.events.progress.Progress` says of epoch and batch, for a fraction of its cost.

    None: no event of a loop has come, and nobody has said it. Any thread may read it.
    """

    __slots__ = ("_in_epoch", "batch", "epoch")

    def __init__(self) -> None:
        self.epoch: Any = None
        self.batch: Any = None
        self._in_epoch = False

    def take(self, name: str, said: Mapping[str, Any]) -> None:
        """An event and what came with it. Counts that it gives hold, whatever its name; others are counted on."""
        event = name.lower()
        if event in ASIDE:
            return
        epoch, batch = said.get("epoch"), said.get("batch")
        if event in _NAMES:
            ends = event == Event.EPOCH_END or (event == Event.EPOCH_START and self._in_epoch)
            epoch = _counted(self.epoch, ends) if epoch is None else epoch
            batch = _counted(self.batch, event == Event.BATCH_END) if batch is None else batch
            if event in {Event.EPOCH_START, Event.EPOCH_END}:
                self._in_epoch = event == Event.EPOCH_START
        self.epoch = self.epoch if epoch is None else epoch
        self.batch = self.batch if batch is None else batch


def _counted(value: Any, more: bool) -> Any:
    """One more; what is no number, such as a value on a device, stays what was said."""
    if value is None:
        return int(more)
    return value + 1 if more and value.__class__ in {int, float} else value
