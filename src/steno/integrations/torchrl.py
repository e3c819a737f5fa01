"""TorchRL: `StenoLogger`, a `torchrl.record.loggers.Logger` that logs into a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchrl.record.loggers import Logger

import steno

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


class StenoLogger(Logger):  # type: ignore[misc,unused-ignore] # torchrl has no types
    """A TorchRL logger on `<log_dir>/<exp_name>`, for scripts, `Trainer` and `VideoRecorder`.

    Each method does what `steno.RunLogger`'s does: scalars and metrics do not wait for a device, `log_metrics` is
    one record. `experiment` is the `steno.Run`; `shutdown` and `close` are TorchRL's own and end it.

    Args:
        exp_name: the run's name.
        log_dir: the directory of its runs; its last part is their project.
        video_fps: frames per second, where `log_video` does not say.
        video_format: "mp4" or "gif".
        **options: what else `steno.init` takes: config, destinations, resume, tags, …

    Raises:
        UsageError: as `steno.init`.
    """

    def __init__(
        self,
        exp_name: str,
        log_dir: str | os.PathLike[str] | None = None,
        video_fps: float = 30,
        video_format: str = "mp4",
        **options: Any,
    ) -> None:
        self._options = options
        self._video = {"fps": video_fps, "format": video_format}
        super().__init__(exp_name=exp_name, log_dir="steno_logs" if log_dir is None else str(log_dir))

    def _create_experiment(self) -> Any:
        self._logger = steno.RunLogger(self.exp_name, self.log_dir, **self._options)
        return self._logger.experiment

    def __repr__(self) -> str:
        return f"StenoLogger(exp_name={self.exp_name!r}, experiment={self.experiment!r})"

    def log_scalar(self, name: str, value: Any, step: int | None = None) -> None:
        """See `steno.RunLogger.log_scalar`."""
        self._logger.log_scalar(name, value, step)

    def log_video(self, name: str, video: Any, step: int | None = None, **kwargs: Any) -> None:
        """See `steno.RunLogger.log_video`."""
        self._logger.log_video(name, video, step, **{**self._video, **kwargs})

    def log_hparams(self, cfg: Any) -> None:
        """See `steno.RunLogger.log_hparams`."""
        self._logger.log_hparams(cfg)

    def log_histogram(self, name: str, data: Any, **kwargs: Any) -> None:
        """See `steno.RunLogger.log_histogram`."""
        self._logger.log_histogram(name, data, **kwargs)

    def log_str(self, name: str, value: str, step: int | None = None) -> None:
        """See `steno.RunLogger.log_str`."""
        self._logger.log_str(name, value, step)

    def flush(self, timeout: float | None = None) -> bool:  # type: ignore[override,unused-ignore]
        """See `steno.RunLogger.flush`; None: its 30 seconds."""
        return self._logger.flush() if timeout is None else self._logger.flush(timeout)

    def log_metrics(self, metrics: Any, step: int | None = None, *, keys_sep: str = "/") -> Mapping[str, Any]:
        """See `steno.Logger.log_metrics`: a dict, or a Mapping that waits when it is read."""
        return self._logger.log_metrics(metrics, step, keys_sep=keys_sep)
