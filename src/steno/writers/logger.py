"""`steno.Logger`, the template of a logger, and `steno.RunLogger`, its concrete form on a run."""

from __future__ import annotations

import abc
import dataclasses
import os
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from steno import paths
from steno.errors import UsageError
from steno.face import init_additional
from steno.media.histogram import Histogram
from steno.media.text import Text
from steno.media.video import Video
from steno.run import Run
from steno.writers.converted import at_hand, converted, flattened

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from steno.writers.converted import LateMetrics


FLUSH_SECS: Final = 30.0


class Logger(abc.ABC):
    """A template for loggers: six methods to write, `log_metrics` is there.

    A class that leaves one of them out cannot be instantiated. `experiment` is what `_create_experiment` returned.

    Args:
        exp_name: the experiment's name.
        log_dir: the directory that it is kept under.
    """

    def __init__(self, exp_name: str, log_dir: str | os.PathLike[str]) -> None:
        self.exp_name = exp_name
        self.log_dir = log_dir
        self.experiment = self._create_experiment()

    @abc.abstractmethod
    def _create_experiment(self) -> Any:
        """What is logged into; called once, with `exp_name` and `log_dir` set."""

    @abc.abstractmethod
    def log_scalar(self, name: str, value: Any, step: int | None = None) -> None:
        """Log one number.

        Args:
            name: its key.
            value: the number.
            step: None: the next automatic one.
        """

    @abc.abstractmethod
    def log_video(self, name: str, video: Any, step: int | None = None, **kwargs: Any) -> None:
        """Log a video of shape (N, T, C, H, W).

        Args:
            name: its key.
            video: the frames.
            step: None: the next automatic one.
            kwargs: options of the logger, such as `fps`.
        """

    @abc.abstractmethod
    def log_hparams(self, cfg: Any) -> None:
        """Log the configuration: a dict or a DictConfig.

        Args:
            cfg: the configuration; nested keys stay nested.
        """

    @abc.abstractmethod
    def log_histogram(self, name: str, data: Any, **kwargs: Any) -> None:
        """Log how numbers are distributed.

        Args:
            name: its key.
            data: numbers of any shape.
            kwargs: options of the logger, such as `bins`.
        """

    @abc.abstractmethod
    def __repr__(self) -> str:
        """Name and place."""

    def log_metrics(
        self, metrics: Any, step: int | None = None, *, keys_sep: str = "/"
    ) -> dict[str, Any] | LateMetrics:
        """Log many metrics in one call.

        Where `experiment` is a `steno.Run` they are one record, there as a whole or not at all, and nothing waits
        for a device. Elsewhere everything is converted first, which waits, then given to `log_scalar` one by one;
        what it refuses is reported by one warning. In both cases a bad value costs only itself.

        Args:
            metrics: dict or TensorDict; nested ones are flattened, in their order.
            step: of the record; None: the run's next automatic step.
            keys_sep: joins nested names.

        Returns:
            The metrics as Python numbers and lists, None for what cannot be read: a dict when nothing is on a
            device, else a Mapping that waits when it is read, and whose `to_dict()` gives a real dict.

        Raises:
            UsageError: neither a dict nor a TensorDict.
        """
        flat = flattened(metrics, keys_sep)
        values = converted(flat)
        if not isinstance(self.experiment, Run):
            self._log_each(values, step)
        elif flat:
            self.experiment.log(at_hand(flat, values), step)
        return values

    def _log_each(self, values: Mapping[str, Any], step: int | None) -> None:
        refused = []
        for name, value in values.items():
            try:
                self.log_scalar(name, value, step)
            except Exception as error:
                refused.append(f"{name!r} ({error!r})")
        if refused:
            warnings.warn(f"log_metrics left out {', '.join(refused)}", RuntimeWarning, stacklevel=3)


class RunLogger(Logger):
    """Logs into a run: `<log_dir>/<exp_name>`, read by `steno.open` at that path.

    Thread-safe as the run is, which is `experiment`; a forked child logs into a journal of its own. When a method has
    returned, its host values survive the death of the process; power loss may take the last second.

    Any number may be open; the first one's run is the current run, if there was none.

    Args:
        exp_name: the run's name; that of a run which has ended gets a suffix, unless `resume=True` is given.
        log_dir: the directory of its runs; its last part is their project.
        **options: what else `steno.init` takes: config, destinations, resume, tags, …

    Raises:
        UsageError: as `steno.init`.
    """

    def __init__(self, exp_name: str, log_dir: str | os.PathLike[str], **options: Any) -> None:
        self._options = options
        super().__init__(exp_name, log_dir)

    def _create_experiment(self) -> Any:
        in_a_store = "RunLogger(…, store='s3://bucket/prefix') keeps the run in an object store too"
        place = paths.absolute("log_dir", self.log_dir, in_a_store)
        return init_additional(
            project=os.path.basename(place), name=self.exp_name, dir=os.path.dirname(place), **self._options
        )

    def __repr__(self) -> str:
        return f"RunLogger(exp_name={self.exp_name!r}, log_dir={str(self.log_dir)!r}, experiment={self.experiment!r})"

    def log_scalar(self, name: str, value: Any, step: int | None = None) -> None:
        """Log one value: a number, or what else `run.log` takes. Does not wait for a device.

        Args:
            name: its key.
            value: copied before it returns.
            step: None: the run's next automatic step.
        """
        if getattr(value, "is_cpu", False):
            # A number takes the shortest path.
            value = at_hand({name: value}, converted({name: value}))[name]
        self.experiment.log({name: value}, step)

    def log_video(
        self,
        name: str,
        video: Any,
        step: int | None = None,
        *,
        fps: float = 30,
        format: str = "mp4",
        caption: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Log a video; its frames are copied now and encoded by the collector. Waits for frames on a device.

        Args:
            name: its key.
            video: shape (N, T, C, H, W), or (T, C, H, W), C of 1, 3 or 4; what `steno.Video` takes.
            step: None: the run's next automatic step.
            fps: frames per second.
            format: "mp4" or "gif".
            caption: shown with it.
            kwargs: none; another option is refused.

        Raises:
            UsageError: wrong shape, dtype or range; or an option it does not know.
        """
        _refuse("log_video", kwargs, "fps, format and caption")
        axes = {5: "NTCHW", 4: "TCHW"}.get(len(getattr(video, "shape", ())))
        if axes is None:
            shape = getattr(video, "shape", type(video).__name__)
            msg = f"log_video takes an array of shape (N, T, C, H, W) or (T, C, H, W), not {shape}"
            raise UsageError(msg)
        self.experiment.log({name: Video(video, fps=fps, format=format, caption=caption, axes=axes)}, step)

    def log_hparams(self, cfg: Any) -> None:
        """Merge a dict, DictConfig, dataclass or namespace into the run's configuration.

        Args:
            cfg: the configuration; nested keys stay nested.

        Raises:
            UsageError: none of them.
        """
        self.experiment.config.update(_settings(cfg))

    def log_histogram(self, name: str, data: Any, *, step: int | None = None, bins: Any = 64, **kwargs: Any) -> None:
        """Log how numbers are distributed; they are copied now and counted by the collector.

        Args:
            name: its key.
            data: numbers of any shape; waits for those on a device.
            step: None: the run's next automatic step.
            bins: how many, their edges, or a rule; see `steno.Histogram`.
            kwargs: none; another option is refused.

        Raises:
            UsageError: empty, or no numbers; or an option it does not know.
        """
        _refuse("log_histogram", kwargs, "step and bins")
        self.experiment.log({name: Histogram(data, bins=bins)}, step)

    def log_str(self, name: str, value: str, step: int | None = None) -> None:
        """Log a text.

        Args:
            name: its key.
            value: the text.
            step: None: the run's next automatic step.

        Raises:
            UsageError: not a str.
        """
        self.experiment.log({name: Text(value)}, step)

    def flush(self, timeout: float | None = FLUSH_SECS) -> bool:
        """Wait until what was logged is readable, and in the event files and other files of steno's destinations.

        Args:
            timeout: seconds; None waits as long as a collector is at work.

        Returns:
            False: not within the time.
        """
        return bool(self.experiment.flush(timeout, files=True))

    def close(self, timeout: float | None = None) -> bool:
        """End the run, as `Run.finish` does.

        Args:
            timeout: seconds in all; None: as `Run.finish` has it.

        Returns:
            True: all is posted and delivered.
        """
        return bool(self.experiment.finish(timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.experiment.__exit__(kind, error, trace)


def _refuse(method: str, options: Mapping[str, Any], known: str) -> None:
    if options:
        msg = f"{method} does not know {', '.join(options)}; it takes {known}"
        raise UsageError(msg)


def _settings(cfg: Any) -> dict[str, Any]:
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and omegaconf.OmegaConf.is_config(cfg):
        cfg = omegaconf.OmegaConf.to_container(cfg, resolve=True)
    if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
        cfg = dataclasses.asdict(cfg)
    elif not isinstance(cfg, Mapping) and hasattr(cfg, "__dict__") and not callable(cfg):
        cfg = vars(cfg)
    if not isinstance(cfg, Mapping):
        msg = f"log_hparams takes a dict, a DictConfig, a dataclass or a namespace, not {type(cfg).__name__}"
        raise UsageError(msg)
    return {str(key): value for key, value in cfg.items()}
