"""What is called at the events of a training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steno.events.event import Event

if TYPE_CHECKING:
    from steno.events.logger import EventLogger
    from steno.events.state import State


class Callback:
    """Has a method for each event, named as its value; override those that you want.

    Pass the object in `steno.init(destinations=[...])`. All its methods are called on one thread of its own in this
    process, in the order in which the loop said `run.event(...)`, so they may take their time or raise: the loop
    does not notice. What they raise is counted in `run.health()["feeds"]` and said once; no call is repeated. Calls
    that are outstanding when the process dies are lost; the run itself has the events. A forked child does not call.

    Args of each method:
        state: the loop as it stood at the event; immutable.
        logger: records values and files at that place.
    """

    def run_event(self, event: Event, state: State, logger: EventLogger) -> None:
        """Called for every event; calls the method of its name."""
        getattr(self, Event(event).value)(state, logger)

    def close(self, state: State, logger: EventLogger) -> None:
        """The run ends, also after errors. What is logged here is still recorded, and handed on."""

    def post_close(self) -> None:
        """After `close`, unless that raised. Nothing more can be logged."""

    def state_dict(self) -> dict[str, object]:
        """Nothing; for callbacks whose own state a program saves.

        Returns:
            An empty dict.
        """
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Nothing."""

    def init(self, state: State, logger: EventLogger) -> None:
        """The run has started; called by steno itself, once, before anything else."""

    def before_load(self, state: State, logger: EventLogger) -> None:
        """Before a checkpoint is loaded."""

    def after_load(self, state: State, logger: EventLogger) -> None:
        """A checkpoint was loaded."""

    def fit_start(self, state: State, logger: EventLogger) -> None:
        """Training begins."""

    def iteration_start(self, state: State, logger: EventLogger) -> None:
        """An iteration begins."""

    def epoch_start(self, state: State, logger: EventLogger) -> None:
        """An epoch begins."""

    def before_dataloader(self, state: State, logger: EventLogger) -> None:
        """Before the next batch is fetched."""

    def after_dataloader(self, state: State, logger: EventLogger) -> None:
        """The next batch was fetched."""

    def batch_start(self, state: State, logger: EventLogger) -> None:
        """A batch begins."""

    def before_train_batch(self, state: State, logger: EventLogger) -> None:
        """Before forward, loss and backward of a batch."""

    def before_forward(self, state: State, logger: EventLogger) -> None:
        """Before the forward pass."""

    def after_forward(self, state: State, logger: EventLogger) -> None:
        """After the forward pass."""

    def before_loss(self, state: State, logger: EventLogger) -> None:
        """Before the loss is computed."""

    def after_loss(self, state: State, logger: EventLogger) -> None:
        """After the loss was computed."""

    def before_backward(self, state: State, logger: EventLogger) -> None:
        """Before the backward pass."""

    def after_backward(self, state: State, logger: EventLogger) -> None:
        """After the backward pass."""

    def after_train_batch(self, state: State, logger: EventLogger) -> None:
        """After forward, loss and backward of a batch."""

    def batch_end(self, state: State, logger: EventLogger) -> None:
        """A batch is done, and counted."""

    def batch_checkpoint(self, state: State, logger: EventLogger) -> None:
        """After BATCH_END: the time to save."""

    def epoch_end(self, state: State, logger: EventLogger) -> None:
        """An epoch is done, and counted."""

    def epoch_checkpoint(self, state: State, logger: EventLogger) -> None:
        """After EPOCH_END: the time to save."""

    def iteration_end(self, state: State, logger: EventLogger) -> None:
        """An iteration is done."""

    def iteration_checkpoint(self, state: State, logger: EventLogger) -> None:
        """After ITERATION_END: the time to save."""

    def fit_end(self, state: State, logger: EventLogger) -> None:
        """Training is over."""

    def eval_before_all(self, state: State, logger: EventLogger) -> None:
        """Before the first of several evaluations."""

    def eval_start(self, state: State, logger: EventLogger) -> None:
        """An evaluation begins."""

    def eval_batch_start(self, state: State, logger: EventLogger) -> None:
        """A batch of an evaluation begins."""

    def eval_before_forward(self, state: State, logger: EventLogger) -> None:
        """Before its forward pass."""

    def eval_after_forward(self, state: State, logger: EventLogger) -> None:
        """After its forward pass."""

    def eval_batch_end(self, state: State, logger: EventLogger) -> None:
        """A batch of an evaluation is done."""

    def eval_end(self, state: State, logger: EventLogger) -> None:
        """An evaluation is over."""

    def eval_after_all(self, state: State, logger: EventLogger) -> None:
        """After the last of several evaluations."""

    def eval_standalone_start(self, state: State, logger: EventLogger) -> None:
        """An evaluation outside of training begins."""

    def eval_standalone_end(self, state: State, logger: EventLogger) -> None:
        """It is over."""

    def predict_start(self, state: State, logger: EventLogger) -> None:
        """A prediction begins."""

    def predict_batch_start(self, state: State, logger: EventLogger) -> None:
        """A batch of a prediction begins."""

    def predict_before_forward(self, state: State, logger: EventLogger) -> None:
        """Before its forward pass."""

    def predict_after_forward(self, state: State, logger: EventLogger) -> None:
        """After its forward pass."""

    def predict_batch_end(self, state: State, logger: EventLogger) -> None:
        """A batch of a prediction is done."""

    def predict_end(self, state: State, logger: EventLogger) -> None:
        """A prediction is over."""
