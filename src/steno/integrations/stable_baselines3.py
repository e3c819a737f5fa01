"""Stable-Baselines3: `StenoWriter`, a `KVWriter` of its loggers that records into a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import steno
from steno.integrations.absent import absent
from steno.integrations.target_run import TargetRun

try:
    from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Video, filter_excluded_keys
except ImportError as error:
    raise absent("stable_baselines3", "stable-baselines3", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping


class StenoWriter(KVWriter):  # type: ignore[misc,unused-ignore] # Stable-Baselines3's types are not read
    """`logger.output_formats.append(StenoWriter(project="cartpole"))`, then `model.set_logger(logger)`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, made at the first `dump` and ended by `close`, which the logger's `close` calls, or at the end of the
    program. Stable-Baselines3 tells writers of no exception: one that ends the program is recorded as the run's
    failure, another one if the writer is used in a `with` statement.

    A `dump` is one record at the number of environment steps. Arrays become histograms; `Image`, `Video` and `Figure`
    media; an `HParam`'s hyperparameters go to the configuration, and its metrics, which only tell TensorBoard what
    to show next to them, are left out. `record(..., exclude="steno")` keeps a key out.

    Args:
        run: a run to record into; whoever made it ends it.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. At the first `dump`: as `steno.init`; at any: media of a wrong shape.
    """

    def __init__(self, run: steno.Run | None = None, **options: Any) -> None:
        self._target = TargetRun(run, options)

    @property
    def run(self) -> steno.Run | None:
        """The run; None before the first `dump`."""
        return self._target.seen()

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, Any], step: int = 0) -> None:
        """One record; called by the logger's `dump`."""
        run = self._target.take()
        values = {}
        for key, value in filter_excluded_keys(key_values, key_excluded, "steno").items():
            if isinstance(value, HParam):
                run.config.update(value.hparam_dict)
            else:
                values[key] = _medium(value)
        if values:
            run.log(values, step)
        for value in key_values.values():
            if isinstance(value, Figure) and value.close:
                _close(value.figure)

    def close(self) -> None:
        """End a run of its own, as `steno.Run.finish` does; a run of the caller's is left as it is."""
        self._target.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._target.end(error)


def _medium(value: Any) -> Any:
    if isinstance(value, Video):
        return steno.Video(value.frames, fps=value.fps, axes="NTCHW")
    if isinstance(value, Figure):
        return steno.Image(value.figure)
    if isinstance(value, Image):
        return steno.Image(value.image, axes=None if isinstance(value.image, str) else value.dataformats)
    if getattr(value, "ndim", 0) > 0:
        return steno.Histogram(value)
    return value


def _close(figure: Any) -> None:
    from matplotlib import pyplot as plt

    plt.close(figure)
