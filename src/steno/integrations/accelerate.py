"""Hugging Face Accelerate: `StenoTracker`, a `GeneralTracker` that records into a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import steno
from steno.integrations.absent import absent
from steno.integrations.target_run import TargetRun

try:
    from accelerate.tracking import GeneralTracker, on_main_process
except ImportError as error:
    raise absent("accelerate", "accelerate", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class StenoTracker(GeneralTracker):  # type: ignore[misc,unused-ignore] # Accelerate's types are not read
    """`Accelerator(log_with=StenoTracker(project="digits"))`, then `init_trackers`, `log`, `end_training`.

    It records into `run`; else, if no option is given, into the current run of `steno.init`; else into a run of its
    own, which `init_trackers` makes and `end_training` ends. Only the main process records, and only there is
    `tracker` the run. Values go to the run as they are: a tensor on a device makes nobody wait.
    Accelerate gives the project's name to trackers that it makes itself only, so it is an option here.

    Args:
        run: a run to record into; whoever made it ends it.
        **options: what `steno.init` takes, for a run of its own: project, name, config, dir, destinations, resume, …

    Raises:
        UsageError: both a run and options. In `init_trackers`: as `steno.init`.
    """

    name = "steno"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, run: steno.Run | None = None, **options: Any) -> None:
        super().__init__()
        self._target = TargetRun(run, options)

    @property
    def tracker(self) -> steno.Run | None:
        """The run; None before `init_trackers`, and in processes other than the main one."""
        return self._target.seen()

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def start(self) -> None:
        """Make the run."""
        self._target.take()

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Merge the configuration into the run's."""
        self._target.take().config.update(values)

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def log(self, values: Mapping[str, Any], step: int | None = None, *, level: int | None = None) -> None:
        """One record: `steno.Run.log`; what else it takes is given by `log_kwargs={"steno": {"level": 2}}`."""
        self._target.take().log(values, step, level=level)

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Images by key, in one record; a list of them gets the keys key/0, key/1, …

        Args:
            values: what `steno.Image` takes, or lists of that.
            step: None: the run's next automatic step.
            **options: of `steno.Image`: caption, axes, boxes, masks.

        Raises:
            UsageError: a wrong shape, dtype or range.
        """
        pictures = {
            key: {str(index): steno.Image(one, **options) for index, one in enumerate(images)}
            if isinstance(images, (list, tuple))
            else steno.Image(images, **options)
            for key, images in values.items()
        }
        self._target.take().log(pictures, step)

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Any = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """A table from rows with their columns, or from a data frame.

        Raises:
            UsageError: neither, or rows of another length.
        """
        table = steno.Table(data, columns) if dataframe is None else steno.Table(dataframe)
        self._target.take().log({table_name: table}, step)

    @on_main_process  # type: ignore[misc,untyped-decorator,unused-ignore]
    def finish(self) -> None:
        """End a run of its own; `end_training` calls it."""
        self._target.end()
