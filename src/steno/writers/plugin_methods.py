"""The `add_*` of what a plugin of TensorBoard shows: curves, embeddings, hyperparameters, layouts and graphs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from steno.writers import graphs, values
from steno.writers.base import WriterBase

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


class PluginMethods(WriterBase):
    """Values of TensorBoard's plugins."""

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
