"""The events of a training loop."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

_PAIRS: Final = (("before_", "after_"), ("_start", "_end"))


class Event(StrEnum):
    """A moment of a training loop; its value is the name of the `Callback` method that is called then.

    `Event("batch_end")` takes the value in any case.

    Raises:
        ValueError: there is no event of that name.
    """

    INIT = "init"
    BEFORE_LOAD = "before_load"
    AFTER_LOAD = "after_load"
    FIT_START = "fit_start"

    ITERATION_START = "iteration_start"
    EPOCH_START = "epoch_start"
    BEFORE_DATALOADER = "before_dataloader"
    AFTER_DATALOADER = "after_dataloader"
    BATCH_START = "batch_start"
    BEFORE_TRAIN_BATCH = "before_train_batch"
    BEFORE_FORWARD = "before_forward"
    AFTER_FORWARD = "after_forward"
    BEFORE_LOSS = "before_loss"
    AFTER_LOSS = "after_loss"
    BEFORE_BACKWARD = "before_backward"
    AFTER_BACKWARD = "after_backward"
    AFTER_TRAIN_BATCH = "after_train_batch"
    BATCH_END = "batch_end"
    BATCH_CHECKPOINT = "batch_checkpoint"
    EPOCH_END = "epoch_end"
    EPOCH_CHECKPOINT = "epoch_checkpoint"
    ITERATION_END = "iteration_end"
    ITERATION_CHECKPOINT = "iteration_checkpoint"
    FIT_END = "fit_end"

    EVAL_BEFORE_ALL = "eval_before_all"
    EVAL_START = "eval_start"
    EVAL_BATCH_START = "eval_batch_start"
    EVAL_BEFORE_FORWARD = "eval_before_forward"
    EVAL_AFTER_FORWARD = "eval_after_forward"
    EVAL_BATCH_END = "eval_batch_end"
    EVAL_END = "eval_end"
    EVAL_AFTER_ALL = "eval_after_all"
    EVAL_STANDALONE_START = "eval_standalone_start"
    EVAL_STANDALONE_END = "eval_standalone_end"

    PREDICT_START = "predict_start"
    PREDICT_BATCH_START = "predict_batch_start"
    PREDICT_BEFORE_FORWARD = "predict_before_forward"
    PREDICT_AFTER_FORWARD = "predict_after_forward"
    PREDICT_BATCH_END = "predict_batch_end"
    PREDICT_END = "predict_end"

    @classmethod
    def _missing_(cls, value: object) -> Event:
        if isinstance(value, str) and value.lower() in cls._value2member_map_:
            return cls(value.lower())
        msg = f"{value!r} is no event of a training loop; there are {', '.join(cls)}"
        raise ValueError(msg)

    @property
    def is_before_event(self) -> bool:
        """Whether it opens something that another event closes."""
        return any(first in self and self.replace(first, last) in _NAMES for first, last in _PAIRS)

    @property
    def is_after_event(self) -> bool:
        """Whether it closes something that another event opened."""
        return any(last in self and self.replace(last, first) in _NAMES for first, last in _PAIRS)

    @property
    def canonical_name(self) -> str:
        """What the two events of a pair have in common: "batch" of `BATCH_START` and `BATCH_END`."""
        name = self.value
        for mark in ("before_", "after_", "_start", "_end"):
            name = name.replace(mark, "")
        return name


_NAMES: Final = frozenset(event.value for event in Event)
EVAL_BATCH: Final = frozenset(
    {Event.EVAL_BATCH_START, Event.EVAL_BEFORE_FORWARD, Event.EVAL_AFTER_FORWARD, Event.EVAL_BATCH_END}
)
PREDICT_BATCH: Final = frozenset(
    {Event.PREDICT_BATCH_START, Event.PREDICT_BEFORE_FORWARD, Event.PREDICT_AFTER_FORWARD, Event.PREDICT_BATCH_END}
)
ASIDE: Final = EVAL_BATCH | PREDICT_BATCH
"""Of batches other than the training's, which have counts of their own."""
