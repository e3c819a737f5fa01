"""Hugging Face Transformers: `StenoCallback`, a `TrainerCallback` that records into a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from steno.integrations.absent import absent
from steno.integrations.checkpoints import keep
from steno.integrations.target_run import EndsOwnRun, TargetRun

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise absent("transformers", "transformers", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import steno


class StenoCallback(EndsOwnRun, TrainerCallback):  # type: ignore[misc,unused-ignore] # Transformers' types are not read
    """`Trainer(..., callbacks=[StenoCallback(project="digits")])`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, which is made when training or an evaluation begins, and goes on after training, so that a later `evaluate`
    and `predict` are in it. It ends by `finish`, or at the end of the program; a program that an exception ends is
    recorded as failed, one that goes on after it only if the callback is used in a `with` statement, since
    Transformers tells callbacks of no exception. Only the world's rank zero records.

    What the Trainer logs is one record at its global step, `loss` as `train/loss`, `eval_loss` as `eval/loss`,
    `test_loss` as `test/loss`. The Trainer has brought the values to the host before. Training arguments, model and
    trial are in the configuration as `args`, `model` and `trial`. With `resume=True`, training that goes on from a
    checkpoint at step N hides what was recorded after N. Each trial of a hyperparameter search is a run of its own.

    Args:
        run: a run to record into; whoever made it ends it.
        checkpoints: keep each checkpoint as an artifact `checkpoints/checkpoint-<step>`, the best one as
            `best/<metric>` as well. It is snapshot before training goes on: a reflink or a copy. Not in a search.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. When training begins: as `steno.init`.
    """

    def __init__(self, run: steno.Run | None = None, *, checkpoints: bool = False, **options: Any) -> None:
        super().__init__()
        self._keeps = checkpoints
        self._target = TargetRun(run, options)
        self._resumed = options.get("resume") is True and "rewind" not in options
        self._described: steno.Run | None = None

    @property
    def run(self) -> steno.Run | None:
        """The run; None before training begins, and on ranks above zero."""
        return self._target.seen()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - theirs
        """Make the run and write down the configuration."""
        if not state.is_world_process_zero:
            return
        more = {}
        if state.is_hyper_param_search:
            self._target.leave()
            more["name"] = state.trial_name
        elif self._resumed and state.global_step > 0:
            more["rewind"] = state.global_step + 1
        self._describe(args, kwargs.get("model"), more)
        if state.is_hyper_param_search:
            self._target.take().config.update(trial=state.trial_params)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        """One record of what the Trainer logs."""
        if state.is_world_process_zero and logs:
            self._describe(args, kwargs.get("model"), {})
            self._target.take().log({_renamed(key): value for key, value in logs.items()}, state.global_step)

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **kwargs: Any) -> None:
        """One record of `predict`'s metrics, which the Trainer itself does not log."""
        self.on_log(args, state, control, metrics, **kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Keep the checkpoint, if that was asked for."""
        if self._keeps and state.is_world_process_zero and not state.is_hyper_param_search:
            path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
            best = args.metric_for_best_model if state.best_model_checkpoint == path else None
            keep(self._target.take(), path, step=state.global_step, best=best)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """What was logged is readable afterwards, or after two seconds."""
        if state.is_world_process_zero:
            self._target.flush()

    def _describe(self, args: Any, model: Any, more: Mapping[str, Any]) -> None:
        run = self._target.take(**more)
        if run is self._described:
            return
        self._described = run
        about = {"args": args.to_dict()}
        config: Any = getattr(model, "config", None)
        if hasattr(config, "to_dict"):
            about["model"] = config.to_dict()
        run.config.update(about)


def _renamed(key: str) -> str:
    for group in ("eval", "test"):
        if key.startswith(f"{group}_"):
            return f"{group}/{key.removeprefix(f'{group}_')}"
    return f"train/{key}"
