"""Keras 3: `StenoCallback`, a callback of `fit` and `evaluate` that records into a run."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from steno.integrations.absent import absent
from steno.integrations.target_run import EndsOwnRun, TargetRun

try:
    from keras import callbacks, ops
except ImportError as error:
    raise absent("keras", "keras, and a backend: jax, torch or tensorflow", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import steno

_THREADS: Final = 256
"""More than Keras has batches on its way between threads."""


class StenoCallback(EndsOwnRun, callbacks.Callback):  # type: ignore[misc,unused-ignore] # Keras has no types
    """`model.fit(..., callbacks=[StenoCallback(project="digits")])`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, which is made when training begins and takes part in every `fit` and `evaluate` that the callback is given
    to. It ends by `finish`, or at the end of the program; Keras tells callbacks of no exception: one that ends the
    program is recorded as the run's failure, another one if the callback is used in a `with` statement.
    Keras knows no ranks: each process records, under the rank that its launcher gave it.

    `batch/loss` and its kin are recorded at each batch, as Keras has them, which is the mean since the epoch began;
    steps count batches, over epochs and fits. `epoch/loss`, `epoch/val_loss`, `epoch/learning_rate` come at the
    last batch of an epoch, `test/loss` from `evaluate`. Keras brings the values to the host; where its backend
    allows, on threads of its own, so that training does not wait.

    Args:
        run: a run to record into; whoever made it ends it.
        batches: record each batch, too.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. When training begins: as `steno.init`.
    """

    async_safe = True
    """Keras may call the methods of batches on its threads: steps come from the batch's number."""

    def __init__(self, run: steno.Run | None = None, *, batches: bool = True, **options: Any) -> None:
        super().__init__()
        self._target = TargetRun(run, options)
        self._batches = batches
        self._before = 0
        self._latest: deque[int] = deque(maxlen=_THREADS)
        self._fits = False

    @property
    def run(self) -> steno.Run | None:
        """The run; None before training begins."""
        return self._target.seen()

    def set_model(self, model: Any) -> None:
        """Called by each `fit` and `evaluate` at its start, but not by the validation within a fit."""
        super().set_model(model)
        self._fits = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Make the run and write down the configuration."""
        self._fits = True
        about: dict[str, Any] = {"fit": self.params, "model": {"name": self.model.name}}
        if self.model.built:
            about["model"]["parameters"] = self.model.count_params()
        if self._optimizer is not None:
            about["optimizer"] = self._optimizer.get_config()
        self._target.take().config.update(about)

    @property
    def _optimizer(self) -> Any:
        return getattr(self.model, "optimizer", None)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Where training goes on in the middle, steps do too."""
        if epoch and not self._before:
            self._before = epoch * (self.params.get("steps") or 0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """One record."""
        self._latest.append(batch)
        if self._batches and logs:
            self._target.take().log({"batch": logs}, self._before + batch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """One record."""
        self._before += max(self._latest, default=-1) + 1
        self._latest.clear()
        values = {"epoch": epoch, **(logs or {})}
        if self._optimizer is not None:
            values["learning_rate"] = ops.convert_to_tensor(self._optimizer.learning_rate)
        self._target.take().log({"epoch": values}, max(self._before - 1, 0))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """What was logged is readable when `fit` returns, or after two seconds."""
        self._fits = False
        self._target.flush()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """One record of `evaluate`; a validation within `fit` is in the epoch's."""
        if not self._fits and logs:
            self._target.take().log({"test": logs}, max(self._before - 1, 0))
