"""What both writers can do: each `add_*` checks its arguments at the call, then records one value at a step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from steno.errors import UsageError
from steno.writers import graphs, values

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from steno.run import Run
    from steno.writers.place import LogdirHandle


class Writer:
    """The methods of `SummaryWriter` and `GlobalSummaryWriter`, which differ in who says the step."""

    _place: LogdirHandle
    _strict: bool
    _add: Callable[..., None]
    _first_add: Callable[..., None]

    def __repr__(self) -> str:
        return f"steno.{type(self).__name__}({self.logdir!r})"

    def _defaulted(self, step: Any, walltime: Any) -> tuple[Any, Any]:
        """The step and the time that hold for a value; a step of None counts itself."""
        raise NotImplementedError

    def _remember(self, main_tag: str, found: Mapping[str, Any], global_step: Any, walltime: Any) -> None:
        """Keep what `add_scalars` has recorded for an export, where there is one."""

    def _put(self, kind: str, tag: Any, value: Any, step: Any, walltime: Any, **options: Any) -> None:
        name = self._named(tag)
        if self._strict:
            self._tell(name, getattr(value, "remark", ""))
        number, nanos = self._stamped(name, step, walltime)
        self._place.put(kind, name, value, number, nanos, **options)

    def _named(self, tag: Any) -> str:
        name = values.tag(tag)
        if not name or name != tag:
            self._tell(name, f"the tag {tag!r:.80} was recorded as {name!r}; pass one that can be found again")
        return name

    def _number(self, tag: str, value: Any) -> Any:
        number = values.scalar(value)
        if values.has_no_value(value):
            self._tell(tag, "a meta tensor has no value: NaN was recorded")
        return number

    def _stamped(self, tag: str, step: Any, walltime: Any) -> tuple[int | None, int | None]:
        """(step, nanoseconds since 1970) of a value."""
        step, walltime = self._defaulted(step, walltime)
        number = step if step is None else values.step(step)
        if number is not None and not values.is_same(number, step):
            self._tell(tag, f"global_step={step!r:.80} was cut to {number}; pass int(...)")
        nanos = values.wall_nanos(walltime)
        if nanos is None and walltime is not None:
            self._tell(tag, f"walltime={walltime!r:.80} is not a time: the time of the call was taken")
        return number, nanos

    def _tell(self, tag: str, why: str) -> None:
        """Say once per tag, and count, what was changed to be recorded.

        Raises:
            UsageError: the writer is strict.
        """
        if why and self._strict:
            raise UsageError(f"{tag!r}: {why}")
        if why:
            self._place.held().say(f"{tag} argument", f"{tag!r}: {why}")

    # -- what it is -----------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The logdir's absolute path."""
        return str(self._place.path)

    def get_logdir(self) -> str:
        """The logdir's absolute path.

        Returns:
            An absolute path.
        """
        return self.logdir

    @property
    def run(self) -> Run:
        """The run that the logdir is: `health()`, `config`, `log`."""
        return self._place.held().run

    @property
    def default_bins(self) -> list[float]:
        """TensorBoard's own edges of a histogram's bins, which `bins="tensorflow"` means."""
        edges: list[float] = values.tensorflow_edges().tolist()
        return edges

    # -- numbers --------------------------------------------------------------------------------------------

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

    # -- pictures, films, sounds, words ---------------------------------------------------------------------

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Record a picture.

        Args:
            tag: see `add_scalar`.
            img_tensor: uint8, integers in 0..255, bool, or floats in [0, 1]; 1 to 4 channels; or a PIL image. What
                is out of range is clipped and NaN drawn black, which is said once per tag.
            global_step, walltime: see `add_scalar`.
            dataformats: the array's axes: "CHW", "HWC", "HW".

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Record several pictures as a grid: an array with a leading axis "N", or a list ("CHW" or "HWC").

        Args:
            tag, global_step, walltime: see `add_scalar`.
            img_tensor: values as for `add_image`.
            dataformats: the axes of an array: "NCHW", "NHWC", "NHW".

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), global_step, walltime)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: Any = "CHW",
        labels: Any = None,
        *torch_labels: Any,
        rescale: Any = 1,
        **kwargs: Any,  # noqa: ARG002 - accepted, as there
    ) -> None:
        """Record a picture with boxes drawn in: shape (n, 4) of x0, y0, x1, y1 in pixels, and n labels or none.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            img_tensor, dataformats: see `add_image`.
            box_tensor: further columns are not looked at, and boxes may end before they begin.
            labels: left out when they are not as many as the boxes.
            torch_labels: with torch's order behind the time: rescale, dataformats, labels.
            rescale: the picture's sides are made so many times as long; needs pillow.
            kwargs: accepted for compatibility, ignored.

        Raises:
            UsageError: wrong shape or dtype; nothing was recorded.
        """
        if not isinstance(dataformats, str):
            rescale, dataformats = dataformats, "CHW" if labels is None else labels
            labels = torch_labels[0] if torch_labels else None
        made = values.image(img_tensor, dataformats, box_tensor, labels, rescale)
        self._put("image", tag, made, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Record a matplotlib figure, or a list of them as a grid; drawn here, about 50 ms, and then closed.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            figure: a figure, or a list of them.
            close: whether matplotlib may forget the figure.

        Raises:
            UsageError: no figure; nothing was recorded.
        """
        values.tag(tag)
        self._put("image", tag, values.figure(figure, close), global_step, walltime)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Record a film, shown as a GIF: uint8, or floats in [0, 1], else clipped; several side by side.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            vid_tensor: shape (N, T, C, H, W), C of 1, 3 or 4.
            fps: frames per second.
            dataformats: the array's axes.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("video", tag, values.video(vid_tensor, fps, dataformats), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Record a sound: (frames,) or (frames, channels), floats in [-1, 1], else clipped, or integer samples.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            snd_tensor: the samples.
            sample_rate: in Hz.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("audio", tag, values.audio(snd_tensor, sample_rate), global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Record Markdown; TensorBoard shows it under `tag/text_summary`.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            text_string: the text.

        Raises:
            UsageError: no str; nothing was recorded.
        """
        self._put("text", tag, values.text(text_string), global_step, walltime, suffix="/text_summary")

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Record a tensor as it is, of any shape and dtype: `steno.open(logdir).media(tag)` gives it back.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            tensor: an array or tensor; it is copied here.

        Raises:
            UsageError: no tensor of numbers; nothing was recorded.
        """
        self._put("tensor", tag, values.tensor(tensor), global_step, walltime)

    # -- what a plugin shows --------------------------------------------------------------------------------

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record a precision-recall curve of n labels (0 or 1) and predictions in [0, 1]; the collector counts it.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            labels, predictions: arrays of n elements, copied here. Predictions outside are not counted.
            num_thresholds: 1 to 127; more are cut to 127.
            weights: one, or n.

        Raises:
            UsageError: wrong sizes, or no numbers; nothing was recorded.
        """
        self._put("pr_curve", tag, values.PrCurve(labels, predictions, num_thresholds, weights), global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,  # noqa: ARG002 - the counts have it already
        walltime: float | None = None,
    ) -> None:
        """Record a precision-recall curve that is counted already: six rows of one length.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts: at
                each threshold.
            precision, recall: at each threshold, in [0, 1].
            num_thresholds: 1 to 127; more are cut to 127.
            weights: accepted for compatibility, ignored.

        Raises:
            UsageError: rows of different lengths; nothing was recorded.
        """
        rows = (
            true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts, precision, recall,
        )  # fmt: skip
        self._put("pr_curve", tag, values.given_curve(rows, num_thresholds), global_step, walltime)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record meshes or point clouds: vertices and colors (batch, n, 3), faces (batch, m, 3).

        Args:
            tag, global_step, walltime: see `add_scalar`.
            vertices: float coordinates x, y, z.
            colors: integers in 0..255, one color per vertex; None: one color.
            faces: numbers of three vertices each; None: a cloud of points.
            config_dict: three.js options of TensorBoard's scene.

        Raises:
            UsageError: wrong shape or dtype, or empty; nothing was recorded.
        """
        self._put("mesh", tag, values.mesh(vertices, colors, faces, config_dict), global_step, walltime)

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Record points for the projector: (n, dimensions), with n labels and n square pictures, or without.

        Args:
            tag, global_step, walltime: see `add_scalar`.
            mat: numbers, one row per point.
            metadata: labels: texts, or rows of texts.
            label_img: pictures of shape (n, C, H, W).
            metadata_header: names of the columns, where a label is a row.

        Raises:
            UsageError: wrong shapes, or not as many labels or pictures as points; nothing was recorded.
        """
        made = values.embedding(mat, metadata, label_img, metadata_header)
        self._put("embedding", tag, made, global_step, None, suffix="")

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        name: Any = None,
        global_step: Any = None,
        *torch_step: int | None,
        run_name: str | None = None,
        hparam_domain_discrete: Any = None,  # noqa: ARG002
    ) -> None:
        """Record a session's hyperparameters and what came of them, as a sub-run `logdir/name`, in one record.

        Args:
            hparam_dict: bools, numbers, strings; None is left out, and anything else is kept in words.
            metric_dict: tags and numbers.
            name: of the session; None: the time.
            global_step: of the metrics.
            torch_step: with torch's order behind the dicts: hparam_domain_discrete, run_name, global_step.
            run_name: torch's word for name.
            hparam_domain_discrete: torch's; accepted, not shown.

        Raises:
            UsageError: no dicts, or a metric that is no number; nothing was recorded.
        """
        session, metrics = values.hparams(hparam_dict, metric_dict)
        name, global_step = values.session(name or run_name, global_step, torch_step)
        name = values.tag(str(name or time.time()))
        step, nanos = self._stamped(name, global_step, None)
        record = {f"{name}:hparams": session, **{f"{name}:{key}": value for key, value in metrics.items()}}
        self._place.scope("hparams", run=name, prefix=f"{name}:")[1](record, step, nanos)

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Any]]) -> None:
        """Say which tags make a chart: {category: {title: ["Multiline", tags]}} or ["Margin", [value, lower, upper]].

        Args:
            layout: categories with their charts; it replaces the last one.

        Raises:
            UsageError: anything else; nothing was recorded.
        """
        self._put("layout", "custom_scalars__config__", values.layout(layout), None, None)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Have several tags in one chart; see `add_custom_scalars`.

        Args:
            tags: one or several.
            category, title: where the chart stands, and its heading.
        """
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Have a tag in a chart with its lower and upper bounds; see `add_custom_scalars`.

        Args:
            tags: of the value, its lower and its upper bound.
            category, title: where the chart stands, and its heading.
        """
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Record a torch module's graph; it is traced here.

        Args:
            model: a `torch.nn.Module`.
            input_to_model: the arguments to trace it with.
            verbose: whether the graph is printed.
            use_strict_trace: as `torch.jit.trace` has `strict`.

        Raises:
            UsageError: torch is missing, or the module cannot be traced; nothing was recorded.
        """
        self._put(
            "graph", "graph", graphs.of_torch(model, input_to_model, verbose, use_strict_trace), None, None, suffix=""
        )

    def add_onnx_graph(
        self,
        onnx_model_file: str | os.PathLike[str] | None = None,
        *,
        prototxt: str | os.PathLike[str] | None = None,
    ) -> None:
        """Record an ONNX model's graph, from a file; `prototxt` is torch's word for it.

        Args:
            onnx_model_file: the file's path.

        Raises:
            UsageError: the package onnx is missing, or the file is no model; nothing was recorded.
        """
        self._put(
            "graph",
            "graph",
            graphs.of_onnx(prototxt if onnx_model_file is None else onnx_model_file),
            None,
            None,
            suffix="",
        )

    def add_openvino_graph(self, xmlname: str | os.PathLike[str]) -> None:
        """Record the graph of a model in OpenVINO's XML.

        Args:
            xmlname: the file's path.

        Raises:
            UsageError: the file is no model; nothing was recorded.
        """
        self._put("graph", "graph", graphs.of_openvino(xmlname), None, None, suffix="")

    # -- the end --------------------------------------------------------------------------------------------

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until TensorBoard and every other process can read what this process has added.

        Args:
            timeout: seconds at most.

        Returns:
            False: not within the time; nothing is lost, the collector goes on.
        """
        return self._place.flush(timeout)

    def close(self, timeout: float = 30.0) -> bool:
        """Flush, and end the recording when this is the process's last writer on the logdir; `add_*` opens it again.

        Args:
            timeout: seconds at most.

        Returns:
            False: not all was delivered within the time; nothing is lost, the collector goes on.
        """
        self._add = self._first_add
        return self._place.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _histogram(data: Any, bins: Any, max_bins: Any) -> Any:
    return values.histogram(data, bins, max_bins)
