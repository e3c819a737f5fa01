"""`steno.GlobalSummaryWriter`: one writer for all threads and processes, whose steps count themselves."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Self

from steno import settings
from steno.writers import graphs, values
from steno.writers.place import Place, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import steno


class GlobalSummaryWriter:
    """The process's one writer: every kind of value is numbered by itself, per kind and tag, from 0.

    Steps are unique and without a gap over the threads of a process, forked and spawned processes and several writers
    on one logdir, and go on when the logdir is opened again: the collector numbers as it posts. A value that is
    refused takes no step. The constructor makes itself what `getSummaryWriter()` returns; in a spawned child that
    joins the parent's logdir. Prints nothing, holds no lock that another process waits for, starts no process but the
    run's collector. Thread-safe, fork-safe, picklable; what survives is said at `SummaryWriter`.

    Args:
        logdir: the directory; default `runs/<date>_<host><comment>`. One that was used before goes on.
        comment: behind the default logdir's name; ignored with a logdir.
        purge_step: points logged before, from this step on, are hidden, and all automatic steps go on from it.
        max_queue, flush_secs: accepted, and mean nothing.
        filename_suffix: of the event files' names.
        write_to_disk: False: arguments are checked, nothing is recorded.
        log_dir: another name for logdir.
        coalesce_process: True: all processes share one event stream and one sequence of steps. False: each process
            has an event stream of its own, `logdir/process-<pid>-<token>/`, and a sequence of its own.
        kwargs: accepted for compatibility, ignored.

    Raises:
        UsageError: the directory cannot be used.
    """

    __slots__ = ("__weakref__", "_add", "_apart", "_place")

    def __init__(
        self,
        logdir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,  # noqa: ARG002
        flush_secs: float = 120,  # noqa: ARG002
        filename_suffix: str = "",
        write_to_disk: bool = True,
        log_dir: str | os.PathLike[str] | None = None,
        coalesce_process: bool = True,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        global _writer
        self._apart = not coalesce_process
        self._place = Place(
            named(logdir, log_dir, comment), purge_step=None if purge_step is None else values.step(purge_step),
            write=bool(write_to_disk), suffix=filename_suffix, apart=self._apart,
        )  # fmt: skip
        self._add: Callable[[str, Any], None] = self._first_add
        with _lock:
            _writer = self
            _live.add(self)
            # For children that multiprocessing spawns; forked ones inherit the writer itself.
            os.environ["STENO_WRITER"] = json.dumps(self._facts())

    def _facts(self) -> dict[str, Any]:
        place = self._place
        return {"logdir": str(place.path), "suffix": place.suffix, "write": place.write, "apart": self._apart}

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._facts(),)

    def __repr__(self) -> str:
        return f"steno.GlobalSummaryWriter({str(self.logdir)!r})"

    @staticmethod
    def getSummaryWriter() -> GlobalSummaryWriter:  # noqa: N802 - the name that programs know
        """The process's writer; made in the parent's logdir, or in a new one, when there is none. Thread-safe.

        After `close` it is the same one, which the next `add_*` opens again.

        Raises:
            UsageError: the directory cannot be used.
        """
        if _writer is not None:
            return _writer
        with _lock:
            if _writer is not None:
                return _writer
            processes = sys.modules.get("multiprocessing.process")
            facts = settings.read("STENO_WRITER")
            if facts and processes is not None and processes.parent_process() is not None:
                return _again(json.loads(facts))
            return GlobalSummaryWriter()

    # -- what it is -----------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The logdir's absolute path."""
        return str(self._place.path)

    def get_logdir(self) -> str:
        """The logdir's absolute path."""
        return self.logdir

    @property
    def run(self) -> steno.Run:
        """The run that the logdir is: `health()`, `config`, `log`."""
        return self._place.held().run

    # -- numbers --------------------------------------------------------------------------------------------

    def add_scalar(self, tag: str, scalar_value: Any, walltime: float | None = None) -> None:
        """Record a number at the tag's next step.

        Args:
            tag: kept exactly as given; "/" groups.
            scalar_value: a number, or an array or tensor of one element. A device's value is read later.
            walltime: seconds since 1970; None: now.

        Raises:
            UsageError: no number or no tag; nothing was recorded, no step taken.
        """
        if scalar_value.__class__ is float and walltime is None and tag.__class__ is str and tag:
            self._add(tag, scalar_value)
            return
        self._put("scalar", tag, values.scalar(scalar_value), walltime)

    def _first_add(self, tag: str, value: Any) -> None:
        """In the place of the journal's own `add` until the logdir is open."""
        self._add = self._place.scope("scalar")[0]
        self._add(tag, value)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Mapping[str, Any], walltime: float | None = None) -> None:
        """Record several numbers of one chart at one step, in one record; see `SummaryWriter.add_scalars`.

        Raises:
            UsageError: empty, or something that is no number; nothing was recorded.
        """
        found = values.scalars(values.tag(main_tag), tag_scalar_dict)
        self._place.scope("scalars", scalars=main_tag)[1](found, None, values.wall_nanos(walltime))

    def add_histogram(
        self,
        tag: str,
        values: Any,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Record how numbers are distributed; they are copied here and counted by the collector.

        Args:
            tag: see `add_scalar`.
            values: numbers of any shape; those that are not finite are counted apart.
            walltime: see `add_scalar`.
            bins: "tensorflow", a rule of numpy's, a number, or edges.
            max_bins: bins are joined until there are no more; then they are counted here.

        Raises:
            UsageError: empty, no numbers, or unusable bins; nothing was recorded.
        """
        self._put("histogram", tag, _histogram(values, bins, max_bins), walltime)

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
        walltime: float | None = None,
    ) -> None:
        """Record a histogram that is counted already.

        Args:
            tag: see `add_scalar`.
            min, max, num, sum, sum_squares: of the data.
            bucket_limits: n upper limits, rising.
            bucket_counts: n counts.
            walltime: see `add_scalar`.

        Raises:
            UsageError: not as many limits as counts, or counts that do not add up; nothing was recorded.
        """
        made = values.histogram_raw(min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._put("histogram", tag, made, walltime)

    # -- pictures, films, sounds, words ---------------------------------------------------------------------

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Record a picture.

        Args:
            tag: see `add_scalar`.
            img_tensor: uint8, integers in 0..255, bool, or floats in [0, 1]; 1, 3 or 4 channels; or a PIL image.
            walltime: see `add_scalar`.
            dataformats: the array's axes: "CHW", "HWC", "HW".

        Raises:
            UsageError: wrong shape, dtype or range, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Record several pictures as a grid: an array with a leading axis "N", or a list ("CHW" or "HWC").

        Raises:
            UsageError: wrong shape, dtype or range, or empty; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats), walltime)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        walltime: float | None = None,
        dataformats: str = "CHW",
        labels: Any = None,
        **kwargs: Any,  # noqa: ARG002 - rescale of the other writers
    ) -> None:
        """Record a picture with boxes drawn in: shape (n, 4) of x0, y0, x1, y1 in pixels, and n labels or none.

        Raises:
            UsageError: wrong shape, dtype or range, or not as many labels as boxes; nothing was recorded.
        """
        self._put("image", tag, values.image(img_tensor, dataformats, box_tensor, labels), walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Record a matplotlib figure, or a list of them as a grid; drawn here, about 50 ms, and then closed.

        Raises:
            UsageError: no figure; nothing was recorded.
        """
        values.tag(tag)
        self._put("image", tag, values.figure(figure, close), walltime)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        fps: float = 4,
        walltime: float | None = None,
        dataformats: str = "NTCHW",
    ) -> None:
        """Record a film, shown as a GIF: uint8, or floats in [0, 1]; several side by side.

        Raises:
            UsageError: wrong shape, dtype or range, or empty; nothing was recorded.
        """
        self._put("video", tag, values.video(vid_tensor, fps, dataformats), walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Record a sound: (frames,) or (frames, channels), floats in [-1, 1] or int16.

        Raises:
            UsageError: wrong shape, dtype or range, or empty; nothing was recorded.
        """
        self._put("audio", tag, values.audio(snd_tensor, sample_rate), walltime)

    def add_text(self, tag: str, text_string: str, walltime: float | None = None) -> None:
        """Record Markdown; TensorBoard shows it under `tag/text_summary`.

        Raises:
            UsageError: no str; nothing was recorded.
        """
        self._put("text", tag, values.text(text_string), walltime, suffix="/text_summary")

    # -- what a plugin shows --------------------------------------------------------------------------------

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record a precision-recall curve of n labels (0 or 1) and predictions in [0, 1]; the collector counts it.

        Args:
            tag: see `add_scalar`.
            labels, predictions: arrays of n elements, copied here.
            num_thresholds: 2 to 127; more are cut to 127.
            weights: one, or n, not negative.

        Raises:
            UsageError: wrong sizes or ranges; nothing was recorded.
        """
        self._put("pr_curve", tag, values.PrCurve(labels, predictions, num_thresholds, weights), walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        num_thresholds: int = 127,
        weights: Any = None,  # noqa: ARG002 - the counts have it already
        walltime: float | None = None,
    ) -> None:
        """Record a precision-recall curve that is counted already: six rows of one length.

        Raises:
            UsageError: rows of different lengths; nothing was recorded.
        """
        rows = (
            true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts, precision, recall,
        )  # fmt: skip
        self._put("pr_curve", tag, values.given_curve(rows, num_thresholds), walltime)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record meshes or point clouds: vertices and colors (batch, n, 3), faces (batch, m, 3).

        Raises:
            UsageError: wrong shape, dtype or range, or empty; nothing was recorded.
        """
        self._put("mesh", tag, values.mesh(vertices, colors, faces, config_dict), walltime)

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Record points for the projector: (n, dimensions), with n labels and n square pictures, or without.

        Raises:
            UsageError: wrong shapes, or not as many labels or pictures as points; nothing was recorded.
        """
        made = values.embedding(mat, metadata, label_img, metadata_header)
        self._put("embedding", tag, made, None, suffix="")

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        name: str | None = None,
        *,
        run_name: str | None = None,
        hparam_domain_discrete: Any = None,  # noqa: ARG002
    ) -> None:
        """Record a session's hyperparameters and what came of them, as a sub-run `logdir/name`, in one record.

        Args:
            hparam_dict: bools, numbers, strings; None is left out.
            metric_dict: tags and numbers.
            name: of the session; None: the time.
            run_name: torch's word for name.
            hparam_domain_discrete: torch's; accepted, not shown.

        Raises:
            UsageError: no dicts, or a value that is none of these; nothing was recorded.
        """
        session, metrics = values.hparams(hparam_dict, metric_dict)
        name = values.tag(str(name or run_name or time.time()))
        record = {f"{name}/hparams": session, **{f"{name}/{key}": value for key, value in metrics.items()}}
        self._place.scope("hparams", run=name, prefix=f"{name}/")[1](record, None, None)

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Any]]) -> None:
        """Say which tags make a chart: {category: {title: ["Multiline", tags]}} or ["Margin", [value, lower, upper]].

        Raises:
            UsageError: anything else; nothing was recorded.
        """
        self._put("layout", "custom_scalars__config__", values.layout(layout), None)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Have several tags in one chart; see `add_custom_scalars`."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Have a tag in a chart with its lower and upper bounds; see `add_custom_scalars`."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Record a torch module's graph; it is traced here.

        Raises:
            UsageError: torch is missing, or the module cannot be traced; nothing was recorded.
        """
        self._put("graph", "graph", graphs.of_torch(model, input_to_model, verbose, use_strict_trace), None, suffix="")

    def add_onnx_graph(self, onnx_model_file: str | os.PathLike[str]) -> None:
        """Record an ONNX model's graph.

        Raises:
            UsageError: the package onnx is missing, or the file is no model; nothing was recorded.
        """
        self._put("graph", "graph", graphs.of_onnx(onnx_model_file), None, suffix="")

    def add_openvino_graph(self, xmlname: str | os.PathLike[str]) -> None:
        """Record the graph of a model in OpenVINO's XML.

        Raises:
            UsageError: the file is no model; nothing was recorded.
        """
        self._put("graph", "graph", graphs.of_openvino(xmlname), None, suffix="")

    # -- the end --------------------------------------------------------------------------------------------

    def _put(self, kind: str, tag: str, value: Any, walltime: Any, **options: Any) -> None:
        self._place.put(kind, values.tag(tag), value, None, walltime, **options)

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


_writer: GlobalSummaryWriter | None = None
_lock = threading.RLock()
_live: weakref.WeakSet[GlobalSummaryWriter] = weakref.WeakSet()


def _again(facts: Mapping[str, Any]) -> GlobalSummaryWriter:
    """The writer that a parent had, in a child: the process's own if it has one on that logdir."""
    with _lock:
        there = _writer
        if there is not None and there._facts() == facts:
            return there
        return GlobalSummaryWriter(
            facts["logdir"], filename_suffix=facts["suffix"], write_to_disk=facts["write"],
            coalesce_process=not facts["apart"],
        )  # fmt: skip


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for writer in list(_live):
        if writer._apart:
            # The child's stream of events is another one.
            writer._add = writer._first_add


os.register_at_fork(after_in_child=_after_fork)


def _histogram(data: Any, bins: Any, max_bins: Any) -> Any:
    return values.histogram(data, bins, max_bins)
