"""What `add_*` methods are given, checked and made into values to record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.media.arrays import as_array, is_torch
from steno.media.audio import Audio
from steno.media.bundle import Bundle
from steno.media.curve import PrCurve, Settled, given_curve
from steno.media.figure import Figure
from steno.media.histogram import Histogram, tensorflow_edges
from steno.media.image import Image
from steno.media.mesh import Mesh
from steno.media.pixels import rendered
from steno.media.text import Text
from steno.media.video import Video
from steno.secrecy import mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PrCurve", "given_curve"]

_SPRITE_SIDE = 8192
"""TensorBoard's projector shows no larger picture."""
_NUMBERS = (bool, int, float)


def tag(name: Any) -> str:
    """A tag, kept exactly as given.

    Raises:
        UsageError: no str, empty, or not valid unicode.
    """
    if not isinstance(name, str):
        raise UsageError(f"a tag is a str, not {type(name).__name__}: {name!r:.80}")
    if not name:
        raise UsageError("a tag may not be empty")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the tag {name!r} is not valid unicode ({error.reason} at {error.start})") from None
    return str.__str__(name)


def step(given: Any) -> int:
    """A step as an int of 64 bits; None is 0, as TensorBoard reads an event without one.

    Raises:
        UsageError: not a whole number.
    """
    if given is None:
        return 0
    try:
        found = int(given)
        if found != given:
            raise ValueError
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise UsageError(f"global_step={given!r:.80} is not a whole number; pass int(...)") from None
    if not -(2**63) <= found < 2**63:
        raise UsageError(f"global_step={found} does not fit 64 bits")
    return found


def wall_nanos(walltime: Any) -> int | None:
    """Seconds since 1970 as nanoseconds; None: now.

    Raises:
        UsageError: no finite number, or beyond what 64 bits hold.
    """
    if walltime is None:
        return None
    try:
        seconds = float(walltime)
    except (TypeError, ValueError):
        raise UsageError(f"walltime={walltime!r:.80} is not a number of seconds since 1970") from None
    if not math.isfinite(seconds) or not abs(seconds) < 2**63 / 1e9:
        raise UsageError(f"walltime={walltime!r:.80} is not a time")
    whole = math.floor(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def scalar(value: Any) -> Any:
    """A number, or a device's array of one element, which is read later.

    Raises:
        UsageError: no number, or more than one.
    """
    kind = type(value)
    if kind in {float, int}:
        return value
    if isinstance(value, _NUMBERS):
        return int(value) if isinstance(value, int) else float(value)
    if hasattr(value, "__steno__") or isinstance(value, str | bytes) or value is None:
        raise UsageError(f"a scalar is a number, not {kind.__name__}")
    shape = getattr(value, "shape", None)
    if shape is not None and math.prod(shape) != 1:
        raise UsageError(f"a scalar is one number, not an array of shape {tuple(shape)}; take its mean, say")
    if "complex" in str(getattr(value, "dtype", "")):
        raise UsageError("a scalar is a real number; record its real and imaginary parts")
    if any(getattr(value, name, False) for name in ("is_meta", "is_sparse", "is_nested")):
        raise UsageError(
            "a scalar has a value in memory, not a meta, sparse or nested tensor; record x.to_dense(), say"
        )
    if shape is not None and hasattr(value, "device") and not _is_numpy(value):
        return value.detach().reshape(()) if hasattr(value, "detach") and len(shape) else value
    array = as_array(value, "a scalar")
    if array.size != 1:
        raise UsageError(f"a scalar is one number, not {array.size}")
    return array.reshape(-1)[0].item()


def _is_numpy(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy"


def scalars(main_tag: str, given: Any) -> dict[str, Any]:
    """Numbers by `main_tag/name`.

    Raises:
        UsageError: no dict, empty, or a value that is no number.
    """
    if not hasattr(given, "items"):
        raise UsageError(f"add_scalars takes a dict of numbers, not {type(given).__name__}")
    found = {f"{main_tag}/{tag(name)}": scalar(value) for name, value in given.items()}
    if not found:
        raise UsageError("add_scalars was given an empty dict: there is nothing to record")
    return found


def histogram(values: Any, bins: Any, max_bins: Any) -> Any:
    """A histogram of data.

    Raises:
        UsageError: no numbers, none of them finite, or unusable bins.
    """
    if isinstance(values, list | tuple) and any(is_torch(one) for one in values):
        values = [one.item() if hasattr(one, "item") else one for one in values]
    array = as_array(values, "Histogram")
    if max_bins is None:
        return Histogram(array, bins=bins)
    return _merged(array.reshape(-1), bins, max_bins)


def _merged(array: NDArray[Any], bins: Any, max_bins: Any) -> Any:
    """Counted here, for the collector's counting knows no limit of bins: neighbours are joined."""
    import numpy as np

    if isinstance(max_bins, bool) or not hasattr(max_bins, "__index__") or int(max_bins) < 1:
        raise UsageError(f"max_bins={max_bins!r} is not a whole number from 1 on")
    numbers = array.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        raise UsageError("Histogram: no finite number among the values")
    edges = tensorflow_edges() if isinstance(bins, str) and bins == "tensorflow" else bins
    counts, limits = np.histogram(numbers, edges)
    joined = -(-len(counts) // int(max_bins))
    if joined > 1:
        counts = np.add.reduceat(counts, np.arange(0, len(counts), joined))
        limits = np.append(limits[:-1:joined], limits[-1])
    used = np.flatnonzero(counts)
    if len(used):
        counts, limits = counts[used[0] : used[-1] + 1], limits[used[0] : used[-1] + 2]
    statistics = {
        "min": numbers.min(), "max": numbers.max(), "sum": numbers.sum(), "sum_squares": np.square(numbers).sum(),
    }  # fmt: skip
    return Histogram(counts=counts, edges=limits, statistics=statistics)


def histogram_raw(
    low: Any, high: Any, num: Any, total: Any, squares: Any, bucket_limits: Any, bucket_counts: Any
) -> Any:
    """A histogram of counted buckets, each known by its upper limit.

    Raises:
        UsageError: as many limits as counts are needed, rising, and as many elements as they say.
    """
    limits = as_array(bucket_limits, "bucket_limits").reshape(-1).tolist()
    counts = as_array(bucket_counts, "bucket_counts").reshape(-1)
    if len(limits) != len(counts):
        raise UsageError(f"len(bucket_limits) = {len(limits)}, len(bucket_counts) = {len(counts)}: they must be equal")
    given = {"min": low, "max": high, "sum": total, "sum_squares": squares}
    statistics = {name: float(scalar(value)) for name, value in given.items()}
    if abs(float(scalar(num)) - float(counts.sum())) > 1e-6 * max(1.0, abs(float(counts.sum()))):
        raise UsageError(f"num={num}, but the counts add up to {counts.sum()}")
    first = min(statistics["min"], limits[0]) if math.isfinite(statistics["min"]) else limits[0]
    return Histogram(counts=counts, edges=[first, *limits], statistics=statistics)


def image(data: Any, dataformats: Any, boxes: Any = None, labels: Any = None) -> Any:
    """A picture, of an array whose axes `dataformats` names, or a PIL image.

    Raises:
        UsageError: wrong shape, dtype or range, or empty.
    """
    if not isinstance(dataformats, str):
        raise UsageError(f"dataformats={dataformats!r}: a str such as 'CHW' is needed")
    if type(data).__module__.partition(".")[0] == "PIL":
        return Image(data, boxes=_boxes(boxes, labels))
    if isinstance(data, list | tuple) and len(data) and hasattr(data[0], "shape"):
        data = _stacked(data)
        dataformats = dataformats if len(dataformats) == data.ndim else f"N{dataformats}"
    return Image(as_array(data, "Image"), axes=dataformats, boxes=_boxes(boxes, labels))


def _stacked(data: Any) -> NDArray[Any]:
    import numpy as np

    arrays = [as_array(one, "Image") for one in data]
    if len({array.shape for array in arrays}) != 1:
        raise UsageError(f"images of one call have one shape, not {sorted({array.shape for array in arrays})}")
    return np.stack(arrays)


def _boxes(boxes: Any, labels: Any) -> Any:
    if boxes is None or _is_none_found(boxes):
        if labels is not None and len(labels):
            raise UsageError(f"{len(labels)} labels for no boxes; there must be as many")
        return None
    array = as_array(boxes, "boxes")
    if array.ndim != 2 or array.shape[1] != 4:
        raise UsageError(f"boxes: shape {array.shape} is not (n, 4) of x0, y0, x1, y1 in pixels")
    if labels is None:
        return array
    labels = [labels] if isinstance(labels, str) else list(labels)
    if len(labels) != len(array):
        raise UsageError(f"{len(labels)} labels for {len(array)} boxes; there must be as many")
    return [{"box": box, "label": str(label)} for box, label in zip(array.tolist(), labels, strict=True)]


def _is_none_found(boxes: Any) -> bool:
    """Whether a detector found nothing: no boxes is no fault."""
    return tuple(getattr(boxes, "shape", (len(boxes),) if isinstance(boxes, list | tuple) else ())) in {(0,), (0, 4)}


def figure(given: Any, close: bool) -> Any:
    """A figure, or several as one picture; drawn here, for they may change or be closed right after.

    Raises:
        UsageError: not a figure.
    """
    several = isinstance(given, list | tuple)
    if several:
        if not given or not all(hasattr(one, "canvas") for one in given):
            raise UsageError("add_figure takes a matplotlib figure or a list of them")
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
        UsageError: wrong shape, dtype or range, or empty.
    """
    return Video(as_array(data, "Video"), fps, "gif", axes=dataformats)


def audio(data: Any, sample_rate: Any) -> Any:
    """A sound.

    Raises:
        UsageError: wrong shape, dtype, range or rate, or empty.
    """
    return Audio(data, sample_rate)


def text(words: Any) -> Any:
    """Markdown.

    Raises:
        UsageError: not a str.
    """
    return Text(words)


def layout(given: Any) -> Settled:
    """Custom charts: {category: {title: ["Multiline" or "Margin", tags]}}.

    Raises:
        UsageError: anything else.
    """
    shape = "custom scalars are {category: {title: ['Multiline', [tag, ...]]}} or ['Margin', [value, lower, upper]]"
    if not isinstance(given, dict) or not given:
        raise UsageError(shape)
    found = []
    for category, charts in given.items():
        if not isinstance(charts, dict):
            raise UsageError(f"{category!r}: {shape}")
        rows = []
        for title, content in charts.items():
            if not isinstance(content, list | tuple) or len(content) != 2 or content[0] not in {"Multiline", "Margin"}:
                raise UsageError(f"{title!r}: {shape}")
            kind, tags = content
            if isinstance(tags, str) or (kind == "Margin" and len(tags) != 3):
                raise UsageError(f"{title!r}: {shape}")
            rows.append([str(title), kind, [tag(one) for one in tags]])
        found.append([str(category), rows])
    return Settled("layout", {"layout": found})


def hparams(hparam_dict: Any, metric_dict: Any) -> tuple[Settled, dict[str, Any]]:
    """A session's hyperparameters, and its metrics.

    Raises:
        UsageError: no dicts, or a metric that is no number.
    """
    if not isinstance(hparam_dict, dict) or not isinstance(metric_dict, dict):
        raise UsageError("add_hparams takes two dicts: hyperparameters and metrics")
    params = [
        [str(name), mask(str(name), _hparam(name, value))] for name, value in hparam_dict.items() if value is not None
    ]
    metrics = {tag(name): scalar(value) for name, value in metric_dict.items()}
    return Settled("hparams", {"hparams": params, "metrics": list(metrics)}), metrics


def session(name: Any, step: Any, more: tuple[Any, ...]) -> tuple[Any, Any]:
    """A session's name and step, also in torch's order: (discrete domains, name, step).

    Raises:
        UsageError: they are neither order.
    """
    if isinstance(name, Mapping) or isinstance(step, str) or more:
        if not isinstance(name, Mapping | None) or not isinstance(step, str | None) or len(more) > 1:
            msg = "add_hparams takes name and global_step behind its dicts, or torch's domains, name and step"
            raise UsageError(msg)
        return step, more[0] if more else None
    return name, step


def _hparam(name: Any, value: Any) -> bool | float | str:
    if isinstance(value, bool | str):
        return value
    if callable(value):
        return str(getattr(value, "__name__", value))
    try:
        number = scalar(value)
        return number if isinstance(number, bool) else float(number)
    except (UsageError, TypeError, ValueError, OverflowError):
        raise UsageError(f"hyperparameter {name!r}: {type(value).__name__} is neither bool, str nor a number") from None


def embedding(mat: Any, metadata: Any, label_img: Any, metadata_header: Any) -> Bundle:
    """Points of an embedding with their labels and pictures.

    Raises:
        UsageError: wrong shapes, or not as many labels or pictures as points.
    """
    import numpy as np

    points = as_array(mat, "mat")
    if points.ndim != 2:
        raise UsageError(f"mat: shape {points.shape} is not (points, dimensions)")
    arrays: dict[str, NDArray[Any]] = {"points": points}
    meta: dict[str, Any] = {"shape": list(points.shape)}
    if metadata is not None:
        lines = _lines(list(metadata), metadata_header, len(points))
        arrays["labels"] = np.frombuffer(lines.encode("utf-8", "replace"), np.uint8)
    if label_img is not None:
        pictures = as_array(label_img, "label_img")
        if pictures.ndim != 4 or len(pictures) != len(points) or pictures.shape[1] not in {1, 3}:
            raise UsageError(f"label_img: shape {pictures.shape} is not ({len(points)}, 1 or 3, side, side)")
        if pictures.shape[2] != pictures.shape[3]:
            raise UsageError(f"label_img: pictures are square, not {pictures.shape[2]} by {pictures.shape[3]}")
        if math.ceil(math.sqrt(len(points))) * pictures.shape[3] > _SPRITE_SIDE:
            raise UsageError(f"label_img: together more than {_SPRITE_SIDE} pixels wide, which TensorBoard cannot show")
        if pictures.dtype != np.uint8:
            low, high = float(pictures.min()), float(pictures.max())
            if not (low >= 0 and high <= (1 if pictures.dtype.kind == "f" else 255)):
                raise UsageError(f"label_img: floats in [0, 1] or integers in 0..255, these lie in [{low:g}, {high:g}]")
            pictures = np.rint(pictures * 255).astype(np.uint8) if pictures.dtype.kind == "f" else pictures.astype("u1")
        arrays["pictures"] = np.ascontiguousarray(
            np.broadcast_to(pictures.transpose(0, 2, 3, 1), (len(points), *pictures.shape[2:], 3))
        )
        meta["picture"] = list(pictures.shape[2:])
    return Bundle("embedding", arrays, meta)


def _lines(metadata: list[Any], header: Any, count: int) -> str:
    if len(metadata) != count:
        raise UsageError(f"{len(metadata)} labels for {count} points; there must be as many")
    rows: list[Any] = [metadata_row if header else [metadata_row] for metadata_row in metadata]
    if header:
        header = list(header)
        if any(len(row) != len(header) for row in rows):
            raise UsageError(f"metadata_header has {len(header)} columns; each label needs as many")
        rows.insert(0, header)
    clean = str.maketrans({"\t": " ", "\n": " ", "\r": " "})
    return "".join("\t".join(str(cell).translate(clean) for cell in row) + "\n" for row in rows)


def mesh(vertices: Any, colors: Any, faces: Any, config: Mapping[str, Any] | None) -> Any:
    """A mesh or point cloud.

    Raises:
        UsageError: wrong shape, dtype or range, or empty.
    """
    return Mesh(vertices, colors, faces, config=config)
