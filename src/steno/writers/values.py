"""What `add_*` methods are given, made into values to record: whatever the writers that ours follow would take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.media.arrays import as_array, is_torch, joined, seen
from steno.media.audio import Audio
from steno.media.bundle import Bundle
from steno.media.curve import PrCurve, Settled, given_curve
from steno.media.figure import Figure
from steno.media.histogram import Histogram, tensorflow_edges, usable_bins
from steno.media.image import Image, resized
from steno.media.object3d import Object3D
from steno.media.pixels import out_of_range, pixel_bytes, rendered
from steno.media.text import Text
from steno.media.video import Video
from steno.secrecy import mask
from steno.utf8 import brief, escaped, text_of_any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PrCurve", "given_curve", "tensorflow_edges"]

_SPRITE_SIDE = 8192
"""TensorBoard's projector shows no larger picture."""
_NUMBERS = (bool, int, float)
_MOST_WORDS = 1000
"""Characters of a hyperparameter that is no number."""


def tag(name: Any) -> str:
    """A tag as it is recorded: kept, but for None, bytes, and what is not valid unicode.

    Raises:
        UsageError: none of them, and no str.
    """
    if name is None:
        return ""
    if isinstance(name, bytes):
        return name.decode("utf-8", "backslashreplace")
    if not isinstance(name, str):
        raise UsageError(f"a tag is a str, not {type(name).__name__}: {brief(name)}; pass str(...)")
    return escaped(str.__str__(name))


def step(given: Any) -> int:
    """A step as an int of 64 bits; decimals are cut off.

    Raises:
        UsageError: no number, or too large.
    """
    try:
        found = int(given.item() if getattr(given, "ndim", 0) else given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise UsageError(f"global_step={brief(given)} is not a whole number; pass int(...)") from None
    if not -(2**63) <= found < 2**63:
        raise UsageError(f"global_step={brief(found)} does not fit 64 bits; pass a step between -2**63 and 2**63 - 1")
    return found


def is_same(found: int, given: Any) -> bool:
    """Whether a step is what was given, whatever that is."""
    try:
        return bool(found == given)
    except Exception:  # a foreign type's comparison raises, or its result has no truth value
        return False


def wall_nanos(walltime: Any) -> int | None:
    """Seconds since 1970 as nanoseconds; None: now, also for what is no time.

    Raises:
        UsageError: no number.
    """
    if walltime is None:
        return None
    try:
        seconds = float(walltime)
    except (TypeError, ValueError):
        raise UsageError(
            f"walltime={brief(walltime)} is not a number of seconds; pass time.time() or nothing"
        ) from None
    if not math.isfinite(seconds) or not abs(seconds) < 2**63 / 1e9:
        return None
    whole = math.floor(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def scalar(value: Any) -> Any:
    """A number, or a device's array of one element, which is read later.

    Numbers of any type, also as text; a meta tensor, which has no value, is NaN.

    Raises:
        UsageError: no number, or more than one.
    """
    kind = type(value)
    if kind in {float, int}:
        return value
    if isinstance(value, _NUMBERS):
        return int(value) if isinstance(value, int) else float(value)
    shape = getattr(value, "shape", None)
    if shape is not None and math.prod(shape) != 1:
        raise UsageError(f"a scalar is one number, not an array of shape {tuple(shape)}; pass its mean, or one element")
    if isinstance(value, complex) or "complex" in str(getattr(value, "dtype", "")):
        raise UsageError("a scalar is a real number; pass x.real and x.imag under two tags")
    if has_no_value(value):
        return math.nan
    if any(getattr(value, name, False) for name in ("is_sparse", "is_nested")):
        raise UsageError("a scalar is no sparse or nested tensor; pass x.to_dense()")
    if shape is not None and hasattr(value, "device") and not _is_numpy(value):
        return value.detach().reshape(()) if hasattr(value, "detach") and len(shape) else value
    try:
        array = as_array(value, "a scalar")
    except UsageError:
        raise UsageError(f"a scalar is a number, not {kind.__name__}; pass float(...), or text by add_text") from None
    if array.size != 1:
        raise UsageError(f"a scalar is one number, not {array.size}; pass one of them, or all by add_scalars")
    return array.reshape(-1)[0].item()


def has_no_value(value: Any) -> bool:
    """Whether it is a tensor that has a shape and nothing in it."""
    return bool(getattr(value, "is_meta", False))


def _is_numpy(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy"


def scalars(given: Any) -> dict[str, Any]:
    """Numbers by name.

    Raises:
        UsageError: no dict, or a value that is no number.
    """
    if not hasattr(given, "items"):
        raise UsageError(f"add_scalars takes a dict {{name: number}}, not {type(given).__name__}")
    return {tag(name): scalar(value) for name, value in given.items()}


def histogram(values: Any, bins: Any, max_bins: Any) -> Any:
    """A histogram of data.

    Raises:
        UsageError: no numbers, none of them finite, or unusable bins.
    """
    if isinstance(values, list | tuple) and any(is_torch(one) for one in values):
        values = [one.item() if hasattr(one, "item") else one for one in values]
    array = as_array(seen(values), "Histogram")
    if max_bins is None:
        return Histogram(array, bins=bins)
    return _merged(array.reshape(-1), bins, max_bins)


def _merged(array: NDArray[Any], bins: Any, max_bins: Any) -> Any:
    """Counted here, for the collector's counting knows no limit of bins: whole numbers of neighbours are joined."""
    import numpy as np

    numbers = array.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    usable, remark = usable_bins(bins)
    edges: Any = tensorflow_edges() if usable == "tensorflow" else usable
    try:
        counts, limits = np.histogram(numbers, edges)
    except (ValueError, MemoryError):
        return Histogram(array, bins=bins)  # numbers too close together, or too far apart, for numpy
    if not (isinstance(max_bins, Real) or hasattr(max_bins, "__index__")) or not max_bins >= 1:
        raise UsageError(f"max_bins={brief(max_bins)} is not a number from 1 on; leave it out for no limit")
    if len(counts) > max_bins:
        every = len(counts) // int(max_bins)
        counts = np.add.reduceat(counts, np.arange(0, len(counts), every))
        limits = np.append(limits[:-1:every], limits[-1])
    used = np.flatnonzero(counts)
    if len(used):
        counts, limits = counts[used[0] : used[-1] + 1], limits[used[0] : used[-1] + 2]
    statistics = {}
    if len(numbers):
        with np.errstate(over="ignore"):
            statistics = {
                "min": numbers.min(), "max": numbers.max(), "sum": numbers.sum(),
                "sum_squares": np.square(numbers).sum(),
            }  # fmt: skip
    made = Histogram(counts=counts, edges=limits, statistics=statistics)
    made.remark = joined(made.remark, remark)
    return made


def histogram_raw(
    low: Any, high: Any, num: Any, total: Any, squares: Any, bucket_limits: Any, bucket_counts: Any
) -> Any:
    """A histogram of counted buckets, each known by its upper limit; without buckets, one that is empty.

    Raises:
        UsageError: no numbers, or not as many limits as counts.
    """
    import numpy as np

    limits = as_array(bucket_limits, "bucket_limits", may_be_empty=True).reshape(-1).astype(np.float64)
    counts = as_array(bucket_counts, "bucket_counts", may_be_empty=True).reshape(-1)
    if len(limits) != len(counts):
        raise UsageError(
            f"len(bucket_limits) = {len(limits)}, len(bucket_counts) = {len(counts)}; pass one count for each limit"
        )
    given = {"min": low, "max": high, "sum": total, "sum_squares": squares, "num": num}
    statistics = {name: 0.0 if value is None else float(scalar(value)) for name, value in given.items()}
    remarks = []
    order = np.argsort(limits, kind="stable")
    if (order != np.arange(len(limits))).any():
        limits, counts = limits[order], counts[order]
        remarks.append("its bucket_limits do not rise: its buckets were sorted")
    if np.isnan(limits).any():
        counts, limits = counts[~np.isnan(limits)], limits[~np.isnan(limits)]
        remarks.append("buckets whose limit is NaN were left out")
    if not len(limits):
        limits, counts = np.array([statistics["max"] if math.isfinite(statistics["max"]) else 0.0]), np.zeros(1)
    lowest = statistics["min"]
    first = min(lowest, limits[0]) if math.isfinite(lowest) else limits[0]
    made = Histogram(counts=counts, edges=[first, *limits], statistics=statistics)
    held = float(counts[np.isfinite(counts) & (counts > 0)].sum())
    if abs(statistics["num"] - held) > 1e-6 * max(1.0, held):
        remarks.append(f"num={num}, but its counts add up to {held:g}")
    made.remark = joined(made.remark, *remarks)
    return made


def image(data: Any, dataformats: Any, boxes: Any = None, labels: Any = None, rescale: Any = 1) -> Any:
    """A picture, of an array whose axes `dataformats` names, or a PIL image.

    Raises:
        UsageError: wrong shape or dtype, or empty.
    """
    if not isinstance(dataformats, str):
        raise UsageError(f"dataformats={brief(dataformats)} is no str; pass one letter for each axis, such as 'CHW'")
    marks, remark = _boxes(boxes, labels)
    if type(data).__module__.partition(".")[0] == "PIL":
        made = Image(data, boxes=marks)
    else:
        if isinstance(data, list | tuple) and len(data):
            data = _stacked(data)
            dataformats = f"N{dataformats}" if len(dataformats) == data.ndim - 1 else dataformats
        made = Image(data if hasattr(data, "shape") else as_array(data, "Image"), axes=dataformats, boxes=marks)
        if rescale != 1:
            remark = joined(made.remark, remark)
            larger = resized(as_array(data, "Image"), dataformats.upper(), rescale)
            made = Image(larger, axes="HWC", boxes=_scaled(marks, rescale))
    made.remark = joined(made.remark, remark)
    return made


def _scaled(boxes: Any, factor: float) -> Any:
    if boxes is None or not isinstance(boxes, list):
        return None if boxes is None else boxes * factor
    return [{**one, "box": [corner * factor for corner in one["box"]]} for one in boxes]


def _stacked(data: Any) -> NDArray[Any]:
    import numpy as np

    arrays = [as_array(one, "Image") for one in data]
    if len({array.shape for array in arrays}) != 1:
        shapes = sorted({array.shape for array in arrays})
        raise UsageError(f"images of one call have one shape, not {shapes}; resize them, or add each by itself")
    return np.stack(arrays)


def _boxes(boxes: Any, labels: Any) -> tuple[Any, str]:
    """(boxes with their labels, what was changed of them)."""
    count = 0 if boxes is None or _is_none_found(boxes) else -1
    if count:
        array = as_array(boxes, "boxes")
        if array.ndim != 2 or array.shape[1] < 4:
            raise UsageError(f"boxes: shape {array.shape} is not (n, 4); pass x0, y0, x1, y1 in pixels for each")
        array, count = array[:, :4], len(array)
    labels = [labels] if isinstance(labels, str) else [] if labels is None else list(labels)
    remark = f"{len(labels)} labels for {count} boxes were left out; there must be as many"
    if not count:
        return None, remark if labels else ""
    if len(labels) != count:
        return array, remark if labels else ""
    return [{"box": box, "label": str(label)} for box, label in zip(array.tolist(), labels, strict=True)], ""


def _is_none_found(boxes: Any) -> bool:
    """Whether a detector found nothing: no boxes is no fault."""
    return tuple(getattr(boxes, "shape", (len(boxes),) if isinstance(boxes, list | tuple) else (1,)))[:1] == (0,)


def figure(given: Any, close: bool) -> Any:
    """A figure, or several as one picture; drawn here, for they may change or be closed right after.

    Raises:
        UsageError: not a figure.
    """
    several = isinstance(given, list | tuple)
    if several:
        if not given or not all(hasattr(one, "canvas") for one in given):
            raise UsageError("add_figure takes a matplotlib figure or a list of them; pass other pictures to add_image")
        made: Any = Image(_stacked([rendered(one) for one in given]), axes="NHWC")
    else:
        made = Figure(given)
    if close:
        import sys

        pyplot = sys.modules.get("matplotlib.pyplot")
        for one in given if several else [given]:
            if pyplot is not None and hasattr(one, "canvas"):
                pyplot.close(one)
    return made


def video(data: Any, fps: Any, dataformats: Any) -> Any:
    """A video, shown as a GIF.

    Raises:
        UsageError: wrong shape or dtype, or empty.
    """
    return Video(data if hasattr(data, "shape") else as_array(data, "Video"), fps, "gif", axes=dataformats)


def audio(data: Any, sample_rate: Any) -> Any:
    """A sound.

    Raises:
        UsageError: wrong shape, dtype or rate, or empty.
    """
    return Audio(data, sample_rate)


def text(words: Any) -> Any:
    """Markdown.

    Raises:
        UsageError: not a str.
    """
    return Text(words)


def layout(given: Any) -> Settled:
    """Custom charts: {category: {title: ["Multiline" or "Margin", tags]}}; whatever is not "Margin" is "Multiline".

    Raises:
        UsageError: anything else.
    """
    shape = "custom scalars are {category: {title: ['Multiline', [tag, ...]]}} or ['Margin', [value, lower, upper]]"
    if not isinstance(given, Mapping):
        raise UsageError(shape)
    found = []
    for category, charts in given.items():
        if not isinstance(charts, Mapping):
            raise UsageError(f"{category!r}: {shape}")
        rows = []
        for title, content in charts.items():
            if not isinstance(content, list | tuple) or len(content) < 2:
                raise UsageError(f"{title!r}: {shape}")
            kind = "Margin" if content[0] == "Margin" else "Multiline"
            tags = [content[1]] if isinstance(content[1], str) else list(content[1])
            if kind == "Margin" and len(tags) != 3:
                raise UsageError(f"{title!r}: {shape}")
            rows.append([escaped(str(title)), kind, [tag(one) for one in tags]])
        found.append([escaped(str(category)), rows])
    return Settled("layout", {"layout": found})


def hparams(hparam_dict: Any, metric_dict: Any) -> tuple[Settled, dict[str, Any]]:
    """A session's hyperparameters, and its metrics.

    Raises:
        UsageError: no dicts, or a metric that is no number.
    """
    if not isinstance(hparam_dict, Mapping) or not isinstance(metric_dict, Mapping):
        given_types = f"{type(hparam_dict).__name__} and {type(metric_dict).__name__}"
        raise UsageError(f"add_hparams takes two dicts, hyperparameters and metrics, not {given_types}")
    given = ((text_of_any(name), value) for name, value in hparam_dict.items() if value is not None)
    params = [[name, _hparam(name, value)] for name, value in given]
    metrics = {tag(name): scalar(value) for name, value in metric_dict.items()}
    return Settled("hparams", {"hparams": params, "metrics": list(metrics)}), metrics


def session(name: Any, step: Any, more: tuple[Any, ...]) -> tuple[Any, Any]:
    """A session's name and step, also in torch's order: (discrete domains, name, step).

    Raises:
        UsageError: they are neither order.
    """
    if isinstance(name, Mapping) or (name is None and isinstance(step, str)) or more:
        if not isinstance(name, Mapping | None) or not isinstance(step, str | None) or len(more) > 1:
            msg = "add_hparams takes name and global_step after its two dicts, or torch's domains, name and step"
            raise UsageError(msg)
        return step, more[0] if more else None
    return name, step


def _hparam(name: str, value: Any) -> Any:
    """A bool, a number or words: what the plugin shows; anything else in words. Without secrets."""
    value = mask(name, value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return escaped(str.__str__(value))
    if callable(value):
        return str(getattr(value, "__name__", value))
    try:
        number = scalar(value)
        return number if isinstance(number, bool) else float(number)
    except (UsageError, TypeError, ValueError, OverflowError):
        return mask(name, text_of_any(value)[:_MOST_WORDS])


def tensor(value: Any) -> Bundle:
    """A tensor as it is, of any dtype that numpy has; bfloat16 becomes float32, which holds it.

    Raises:
        UsageError: no tensor, or one of another dtype.
    """
    import numpy as np

    if is_torch(value):
        value = value.detach().cpu()
        if value.is_quantized:
            value = value.dequantize()
        value = value.resolve_conj().resolve_neg()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"add_tensor takes an array of numbers, not {type(value).__name__}: {error}") from error
    if array.dtype.kind not in "buifc":
        raise UsageError(f"add_tensor takes an array of numbers, not of {array.dtype}; pass text by add_text")
    return Bundle("tensor", {"tensor": array}, {"dims": list(array.shape), "dtype": array.dtype.name})


def embedding(mat: Any, metadata: Any, label_img: Any, metadata_header: Any) -> Bundle:
    """Points of an embedding with their labels and pictures.

    Raises:
        UsageError: wrong shapes, or not as many labels or pictures as points.
    """
    import numpy as np

    points = as_array(mat, "mat", may_be_empty=True)
    if points.ndim != 2:
        raise UsageError(f"mat: shape {points.shape} is not (points, dimensions); pass one row for each point")
    arrays: dict[str, NDArray[Any]] = {"points": points}
    meta: dict[str, Any] = {"shape": list(points.shape)}
    remark = picture_remark = ""
    if metadata is not None:
        lines, remark = _lines(list(metadata), metadata_header, len(points))
        arrays["labels"] = np.frombuffer(escaped(lines).encode(), np.uint8)
    if label_img is not None:
        arrays["pictures"], picture_remark = _sprites(as_array(label_img, "label_img"), len(points))
        meta["picture"] = list(arrays["pictures"].shape[1:3])
    return Bundle("embedding", arrays, meta, joined(remark, picture_remark))


def _sprites(pictures: NDArray[Any], count: int) -> tuple[NDArray[Any], str]:
    """(uint8 (n, side, side, 3), what was changed of the pictures); small enough together for the projector."""
    import numpy as np

    if pictures.ndim != 4 or len(pictures) != count or pictures.shape[1] not in {1, 3}:
        raise UsageError(
            f"label_img: shape {pictures.shape} is not ({count}, 1 or 3, side, side); pass one for each point"
        )
    remark = out_of_range(pictures, "label_img")
    pictures = pixel_bytes(pictures).transpose(0, 2, 3, 1)
    height, width = pictures.shape[1:3]
    if height != width:
        square = np.zeros((count, max(height, width), max(height, width), pictures.shape[3]), np.uint8)
        square[:, :height, :width] = pictures
        pictures = square
        remark = joined(remark, f"label_img: pictures of {height} by {width} were made square with black")
    every = -(-math.ceil(math.sqrt(count)) * pictures.shape[1] // _SPRITE_SIDE)
    if every > 1:
        pictures = pictures[:, ::every, ::every]
        larger = (
            f"label_img: together more than {_SPRITE_SIDE} pixels wide: of the pictures every {every}th pixel is kept"
        )
        remark = joined(remark, larger)
    return np.ascontiguousarray(np.broadcast_to(pictures, (*pictures.shape[:3], 3))), remark


def _lines(metadata: list[Any], header: Any, count: int) -> tuple[str, str]:
    if len(metadata) != count:
        raise UsageError(f"{len(metadata)} labels for {count} points; pass one for each point")
    if header and not all(hasattr(row, "__iter__") for row in metadata):
        raise UsageError("with metadata_header each label is a row; pass a list with a value for each column")
    rows: list[list[Any]] = [list(row) for row in metadata] if header else [[row] for row in metadata]
    remark = ""
    if header:
        columns = list(header)
        if rows and len(rows[0]) != len(columns):
            raise UsageError(f"metadata_header has {len(columns)} columns, the first label has {len(rows[0])}")
        if any(len(row) != len(columns) for row in rows):
            rows = [[*row, *[""] * len(columns)][: len(columns)] for row in rows]
            remark = f"metadata: labels of another length than the header's {len(columns)} were cut or filled up"
        rows.insert(0, columns)
    clean = str.maketrans({"\t": " ", "\n": " ", "\r": " "})
    return "".join("\t".join(str(cell).translate(clean) for cell in row) + "\n" for row in rows), remark


def mesh(vertices: Any, colors: Any, faces: Any, config: Mapping[str, Any] | None) -> Any:
    """A mesh or point cloud.

    Raises:
        UsageError: wrong shape or dtype, or empty.
    """
    return Object3D(vertices, colors, faces, config=config)
