"""MosaicML Composer: `StenoLogger`, a `LoggerDestination` of its Trainer that records into a run."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import steno
from steno.errors import UsageError
from steno.integrations.absent import absent
from steno.integrations.target_run import TargetRun

try:
    from composer.core import Event
    from composer.loggers import LoggerDestination
    from composer.utils import dist
except ImportError as error:
    raise absent("composer", "mosaicml", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OUTLINE: Final = frozenset(
    {Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD, Event.FIT_START, Event.FIT_END}
    | {Event.ITERATION_START, Event.ITERATION_END, Event.EPOCH_START, Event.EPOCH_END}
    | {Event.BATCH_START, Event.BATCH_END, Event.EVAL_STANDALONE_START, Event.EVAL_STANDALONE_END}
    | {Event.EVAL_BEFORE_ALL, Event.EVAL_AFTER_ALL, Event.EVAL_START, Event.EVAL_END}
    | {Event.PREDICT_START, Event.PREDICT_END}
)
_EVALS: Final = frozenset(
    {Event.EVAL_BATCH_START, Event.EVAL_BEFORE_FORWARD, Event.EVAL_AFTER_FORWARD, Event.EVAL_BATCH_END}
)
_PREDICTS: Final = frozenset(
    {Event.PREDICT_BATCH_START, Event.PREDICT_BEFORE_FORWARD, Event.PREDICT_AFTER_FORWARD, Event.PREDICT_BATCH_END}
)
_COUNTS: Final = ("epoch", "batch", "sample", "token", "batch_in_epoch", "sample_in_epoch", "token_in_epoch")


class StenoLogger(LoggerDestination):  # type: ignore[misc,unused-ignore] # Composer's types are not read
    """`Trainer(..., loggers=[StenoLogger(project="digits")])`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, which has the Trainer's `run_name`, begins with the Trainer and ends with its `close`. Closed while an
    exception is handled, or by a program that one ends, the run has failed. A logger that is given to a further
    Trainer begins a further run.

    Metrics are recorded at the step that Composer tells, the number of batches; events with the timestamp.

    Args:
        run: a run to record into; whoever made it ends it.
        rank_zero_only: False: every rank records, each under its own rank, into one run.
        all_events: record what happens within a batch and an evaluation, too: about fifteen more events a batch.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. When the Trainer begins: as `steno.init`.
    """

    def __init__(
        self,
        run: steno.Run | None = None,
        *,
        rank_zero_only: bool = True,
        all_events: bool = False,
        **options: Any,
    ) -> None:
        self._target = TargetRun(run, options)
        self._records = not rank_zero_only or dist.get_global_rank() == 0
        self._all_events = all_events

    @property
    def run(self) -> steno.Run | None:
        """The run; None before the Trainer begins, and on ranks that do not record."""
        return self._target.seen() if self._records else None

    def run_event(self, event: Event, state: Any, logger: Any) -> None:
        """Record the event at its batch, with the counts of its timestamp."""
        super().run_event(event, state, logger)
        if not self._records or (event not in _OUTLINE and not self._all_events):
            return
        now = state.timestamp
        if event in _EVALS:
            now = state.eval_timestamp
        elif event in _PREDICTS:
            now = state.predict_timestamp
        about: dict[str, Any] = {name: int(getattr(now, name)) for name in _COUNTS}
        if event is Event.FIT_START:
            about["max_duration"] = str(state.max_duration.to_timestring())
        self._target.take().event(event.value, step=int(state.timestamp.batch), **about)

    def init(self, state: Any, logger: Any) -> None:  # noqa: ARG002 - Composer's signature
        """Begin the run."""
        if self._records:
            self._target.leave()
            self._target.take(name=state.run_name)

    def fit_end(self, state: Any, logger: Any) -> None:  # noqa: ARG002
        """What was logged is readable when `fit` returns, or after two seconds."""
        if self._records:
            self._target.flush()

    def close(self, state: Any, logger: Any) -> None:  # noqa: ARG002
        """End a run of its own, as failed if an exception is being handled; a run of the caller's is left as it is."""
        # Composer closes at the program's exit, too: there steno ends the run by itself, knowing of an exception.
        if threading.main_thread().is_alive():
            self._target.end(sys.exc_info()[1])

    def log_hyperparameters(self, hyperparameters: Mapping[str, Any]) -> None:
        """Merge them into the run's configuration."""
        if self._records:
            self._target.take().config.update(hyperparameters)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One record; a tensor on a device makes nobody wait."""
        if self._records:
            self._target.take().log(metrics, step)

    def log_traces(self, traces: Mapping[str, Any]) -> None:
        """An event "traces"; values that are no plain data as text."""
        if self._records:
            self._target.take().event("traces", traces=traces)

    def log_table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], name: str = "Table", step: int | None = None
    ) -> None:
        """A `steno.Table`.

        Raises:
            UsageError: rows of another length than the columns.
        """
        if self._records:
            self._target.take().log({name: steno.Table(rows, columns)}, step)

    def log_images(
        self,
        images: Any,
        name: str = "Images",
        channels_last: bool = False,
        step: int | None = None,
        masks: Mapping[str, Any] | None = None,
        mask_class_labels: Mapping[int, str] | None = None,
        use_table: bool = True,  # noqa: ARG002 - for another logger's tables
    ) -> None:
        """One record of `steno.Image`; several images get the keys name/0, name/1, …

        Args:
            images: an array of shape (H, W) or (C, H, W); a sequence of them, or an array of shape (N, C, H, W).
            name: the key.
            channels_last: (H, W, C) and (N, H, W, C).
            step: Composer tells the batch.
            masks: name → class numbers (H, W); for several images one for each.
            mask_class_labels: class number → its name.
            use_table: has no meaning here.

        Raises:
            UsageError: a wrong shape, dtype or range: floats are in [0, 1]; or masks of another number than images.
        """
        if not self._records:
            return
        several = isinstance(images, (list, tuple)) or images.ndim == 4
        pictures = images if several else [images]
        layers = {key: mask if several else [mask] for key, mask in (masks or {}).items()}
        if any(len(mask) != len(pictures) for mask in layers.values()):
            msg = f"log_images: {name!r} has {len(pictures)} images, and masks of another number: give one for each"
            raise UsageError(msg)
        axes = "HWC" if channels_last else "CHW"
        classes = {} if mask_class_labels is None else {"classes": mask_class_labels}
        made = {
            str(index): steno.Image(
                picture,
                axes=axes if picture.ndim == 3 else None,
                masks={key: {"data": mask[index], **classes} for key, mask in layers.items()},
            )
            for index, picture in enumerate(pictures)
        }
        self._target.take().log({name: made if several else made["0"]}, step)

    def can_upload_files(self) -> bool:
        """True: files become artifacts of the run."""
        return True

    def upload_file(self, state: Any, remote_file_name: str, file_path: Any, *, overwrite: bool) -> None:
        """Keep a file as an artifact of the run: `steno.Run.log_artifact`, a reflink or a copy before it returns.

        Its metadata are epoch and batch.

        Raises:
            FileExistsError: the name is taken, and `overwrite` is not given.
            FileNotFoundError, PermissionError: the file cannot be read.
        """
        if self._records:
            # In a file's name, braces are braces.
            name = remote_file_name.replace("{", "{{").replace("}", "}}")
            # No step, since a rewind to the batch of a checkpoint must not hide the checkpoint.
            about = {"epoch": int(state.timestamp.epoch), "batch": int(state.timestamp.batch)}
            self._target.take().log_artifact(file_path, name, overwrite=overwrite, metadata=about)

    def download_file(
        self, remote_file_name: str, destination: str, overwrite: bool = False, progress_bar: bool = True
    ) -> None:
        """Write a copy of an artifact of the run, whole or not at all; a `load_object_store` of the Trainer does it.

        Args:
            remote_file_name: the artifact's name, or an alias.
            destination: the path of the copy.
            overwrite: write over what is there.
            progress_bar: has no meaning here: the file is copied on this machine.

        Raises:
            FileNotFoundError: the run has none of that name, or this rank does not record.
            FileExistsError: the destination is there, and `overwrite` is not given.
        """
        del progress_bar
        if os.path.lexists(destination) and not overwrite:
            msg = f"{destination} is there already: pass overwrite=True, or another destination"
            raise FileExistsError(msg)
        if not self._records:
            msg = f"{remote_file_name!r} can be had by rank zero only: pass rank_zero_only=False, or copy it there"
            raise FileNotFoundError(msg)
        self._target.flush()
        try:
            found = steno.open(self._target.take().dir).artifact(remote_file_name)
        except UsageError as error:
            raise FileNotFoundError(str(error)) from error
        found.download(destination, overwrite=overwrite)
