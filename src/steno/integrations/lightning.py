"""Lightning: `StenoLogger`, a logger of `lightning.pytorch` (or `pytorch_lightning`) that records into a run."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from steno.integrations.absent import absent
from steno.integrations.checkpoints import keep
from steno.integrations.target_run import EndsOwnRun, TargetRun

try:
    # Two packages with the same classes twice: the one whose Trainer is in use.
    if "lightning.pytorch" in sys.modules or ("pytorch_lightning" not in sys.modules and find_spec("lightning")):
        from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
        from lightning.pytorch.utilities import rank_zero_only
    else:
        from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
        from pytorch_lightning.utilities import rank_zero_only
except ImportError as error:
    raise absent("lightning", "lightning", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import steno


class StenoLogger(EndsOwnRun, Logger):  # type: ignore[misc,unused-ignore] # Lightning's types are not read
    """`Trainer(logger=StenoLogger(project="digits"))`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, which is made when training begins, takes part in every `fit`, `validate` and `test` of its trainers, and ends
    by `finish`, at the end of the program, or, as failed, when Lightning tells that an exception has ended one.
    Rank zero records; `experiment` does nothing elsewhere. Pickled for spawned ranks, it goes on in the same run.

    Args:
        run: a run to record into; whoever made it ends it.
        prefix: before every key.
        checkpoints: keep each checkpoint as an artifact `checkpoints/<file>`, the best of a `ModelCheckpoint` with a
            monitor as `best/<monitor>` as well. It is snapshot before training goes on: a reflink or a copy.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. When training begins: as `steno.init`.
    """

    def __init__(
        self, run: steno.Run | None = None, *, prefix: str = "", checkpoints: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self._target = TargetRun(run, options)
        self._prefix = prefix
        self._keeps = checkpoints
        self._kept: dict[str, int] = {}
        self._steps = 0

    @property
    @rank_zero_experiment  # type: ignore[misc,untyped-decorator,unused-ignore]
    def experiment(self) -> steno.Run:
        """The run, made now if need be; on ranks above zero Lightning's stand-in that does nothing."""
        return self._target.take()

    @property
    def name(self) -> str | None:
        """The run's project; None as long as there is no run."""
        run = self._target.seen()
        return None if run is None else run.project

    @property
    def version(self) -> str | None:
        """The run's name; None as long as there is no run."""
        run = self._target.seen()
        return None if run is None else run.name

    @property
    def save_dir(self) -> str | None:
        """Where projects are kept; Lightning puts its checkpoints into `checkpoints/` of the run's directory."""
        run = self._target.seen()
        return None if run is None else str(run.dir.parent.parent)

    @property
    def root_dir(self) -> str | None:
        """The project's directory."""
        run = self._target.seen()
        return None if run is None else str(run.dir.parent)

    @property
    def log_dir(self) -> str | None:
        """The run's directory."""
        run = self._target.seen()
        return None if run is None else str(run.dir)

    @rank_zero_only  # type: ignore[misc,untyped-decorator,unused-ignore]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One record. Lightning's Trainer has brought the values to the host; tensors given by you do not wait."""
        self._steps = self._steps if step is None else step
        self._target.take().log({self._prefix: metrics} if self._prefix else metrics, step)

    @rank_zero_only  # type: ignore[misc,untyped-decorator,unused-ignore]
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:
        """Merge them into the run's configuration."""
        self._target.take().config.update(vars(params) if isinstance(params, Namespace) else params)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Called by a `ModelCheckpoint` on rank zero, which does not say what it has saved: what is new is kept."""
        if not self._keeps:
            return
        saver = checkpoint_callback
        for path in dict.fromkeys([saver.last_model_path, *saver.best_k_models, saver.best_model_path]):
            if path and os.path.exists(path) and self._kept.get(path) != (changed := os.stat(path).st_mtime_ns):
                self._kept[path] = changed
                best = saver.monitor if path == saver.best_model_path else None
                keep(self._target.take(), path, step=self._steps, best=best)

    @rank_zero_only  # type: ignore[misc,untyped-decorator,unused-ignore]
    def finalize(self, status: str) -> None:
        """Lightning's word at the end of each `fit`, `validate`, `test` and `predict`.

        "failed" ends a run of its own, with the exception that is being handled. Otherwise the run goes on, and what
        was logged is readable on return, or after two seconds.
        """
        if status == "failed":
            self._target.end(sys.exc_info()[1] or RuntimeError("Lightning says that training has failed"))
        else:
            self._target.flush()

    def __getstate__(self) -> dict[str, Any]:
        # Ranks are about to be spawned: they and this process meet in one run.
        if rank_zero_only.rank == 0:
            self._target.take()
        return self.__dict__.copy()
