"""What both writers can do: each `add_*` checks its arguments at the call, then records one value at a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.writers import values
from steno.writers.media_methods import MediaMethods
from steno.writers.plugin_methods import PluginMethods

if TYPE_CHECKING:
    from collections.abc import Mapping


class Writer(MediaMethods, PluginMethods):
    """The methods of `SummaryWriter` and `GlobalSummaryWriter`, which differ in who says the step."""

    @property
    def default_bins(self) -> list[float]:
        """TensorBoard's own edges of a histogram's bins, which `bins="tensorflow"` means."""
        edges: list[float] = values.tensorflow_edges().tolist()
        return edges

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record several numbers of one chart, in one record; each is a sub-run `logdir/main_tag/name` of TensorBoard.

        Args:
            main_tag: the chart's tag.
            tag_scalar_dict: names and numbers; `steno.open` knows each by its sub-run and its tag,
                `main_tag/name:main_tag`. Without any nothing is recorded.
            global_step, walltime: see `add_scalar`.

        Raises:
            UsageError: something that is no number; nothing was recorded.
        """
        main = self._named(main_tag)
        found = values.scalars(tag_scalar_dict)
        if found:
            step, nanos = self._stamped(main, global_step, walltime)
            keyed = {f"{main}/{name}:{main}": value for name, value in found.items()}
            self._place.scope("scalars", scalars=main)[1](keyed, step, nanos)
            self._remember(main, found, global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Record how numbers are distributed; they are copied here and counted by the collector.

        Args:
            tag: see `add_scalar`.
            values: numbers of any shape; those that are not finite are counted apart.
            global_step, walltime: see `add_scalar`.
            bins: "tensorflow", a rule of numpy's, a number, or edges.
            max_bins: of more bins, each len(bins) // max_bins neighbours are joined; then they are counted here.

        Raises:
            UsageError: empty, no numbers, or unusable bins; nothing was recorded.
        """
        self._put("histogram", tag, _histogram(values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: Any,
        max: Any,
        num: Any,
        sum: Any,
        sum_squares: Any,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record a histogram that is counted already.

        Args:
            tag: see `add_scalar`.
            min, max, num, sum, sum_squares: of the data.
            bucket_limits: n upper limits; sorted, if they do not rise.
            bucket_counts: n counts; what is negative is 0.
            global_step, walltime: see `add_scalar`.

        Raises:
            UsageError: no numbers, or not as many limits as counts; nothing was recorded.
        """
        made = values.histogram_raw(min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._put("histogram", tag, made, global_step, walltime)


def _histogram(data: Any, bins: Any, max_bins: Any) -> Any:
    return values.histogram(data, bins, max_bins)
