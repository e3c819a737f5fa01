"""Images: `steno.Image`, its capture and its encoding as PNG."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.arguments import named
from steno.media.arrays import as_array, captioned, extent, is_torch, joined, left_out, text_of, unmasked
from steno.media.pixels import grid, out_of_range, pixel_bytes, rendered
from steno.media.raw import CHUNK_BYTES, FORGET_BYTES, Captured, Raw, capture, capture_file, regular_file
from steno.utf8 import brief, text_of_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TYPES: Final = {"png": "png", "jpg": "jpg", "jpeg": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp"}
_CHANNELS: Final = (1, 3, 4)
_NAMED_CHANNELS: Final = (1, 2, 3, 4)
"""Two, gray and alpha, only where `axes` says so."""
_AXES: Final = ("HW", "HWC", "CHW", "NHW", "NHWC", "NCHW")


class Image:
    """An image for `run.log`; its pixels are copied when it is logged, and encoded by the collector as PNG.

    Args:
        data: one of
            an array (numpy, torch on the CPU, anything numpy reads): shape (H, W), (H, W, C) or (C, H, W), C of
            1, 3 or 4; uint8 or other integers in 0..255, bool, or floats in [0, 1]. What is out of range is clipped
            and NaN drawn black, which is said once per key; what a mask hides is black;
            a PIL image; a matplotlib figure; the path of a png, jpg, gif, webp or bmp file, which is kept as it is.
        caption: shown with it.
        axes: what the array's axes are, "HW", "HWC", "CHW"; with a leading "N" a grid of N images. Default: by
            shape; if both ends could be channels, a torch tensor has them first and everything else last.
        boxes: a sequence of {"box": (x0, y0, x1, y1), "label": str, "score": float} in pixels, the last two
            optional; or an array of shape (n, 4).
        masks: name → integer array (H, W) of class numbers 0..65535, or {"data": array, "classes": {number: name}}.

    Raises:
        UsageError: wrong shape or dtype, empty, or a file that is no image.

    Not thread-safe while the array is being changed. Nothing is recorded before `log`; when that has returned,
    the pixels survive the process.
    """

    __slots__ = ("_axes", "_boxes", "_caption", "_data", "_ext", "_masks", "_shape", "remark")

    @named
    def __init__(
        self,
        data: Any,
        caption: str | None = None,
        *,
        axes: str | None = None,
        boxes: Any = None,
        masks: Mapping[str, Any] | None = None,
    ) -> None:
        self._data: Any
        self.remark = ""
        """What is changed so that it can be recorded."""
        self._caption = captioned(caption)
        self._ext: str | None = None
        self._axes = ""
        self._shape: tuple[int, int, int] | None = None
        if isinstance(data, (str, os.PathLike)):
            self._data, self._ext = regular_file(data, "Image", TYPES)
        else:
            if hasattr(data, "canvas") and hasattr(data, "savefig"):
                data, axes = rendered(data), "HWC"
            elif type(data).__module__.partition(".")[0] == "PIL":
                data, axes = _pil(data), axes or "HWC"
            self._data = as_array(unmasked(data, 0), "Image")
            self._axes = image_axes(self._data.shape, axes, channels_first=is_torch(data))
            self.remark = joined(left_out(data, "Image"), out_of_range(self._data, "Image"))
            self._shape = grid_shape(self._data.shape, self._axes)
        self._boxes, remark = _boxes(boxes)
        self.remark = joined(self.remark, remark)
        self._masks = _masks(masks)
        for name, (mask, _) in self._masks.items():
            if self._shape is not None and mask.shape != self._shape[:2]:
                msg = f"Image: mask {name!r} has shape {mask.shape}, the image {self._shape[:2]}"
                raise UsageError(msg)

    def __repr__(self) -> str:
        return f"steno.Image({self._data if self._ext else self._shape})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta: dict[str, Any] = {"ext": self._ext or "png", **self._caption}
        if self._boxes:
            meta["boxes"] = self._boxes
        attached = {
            name: capture(
                "mask",
                {},
                {"pixels": mask},
                {"ext": "png", "shape": list(mask.shape), **({"classes": classes} if classes else {})},
            )
            for name, (mask, classes) in self._masks.items()
        }
        if self._ext is not None:
            made = capture_file("image", {"ext": self._ext}, str(self._data), meta)
            return Captured(made.kind, made.meta, made.size_bytes, made.parts, attached, self.remark)
        assert self._shape is not None
        meta["shape"] = list(self._shape)
        return capture("image", {"axes": self._axes}, {"pixels": self._data}, meta, attached, self.remark)


def image_axes(shape: tuple[int, ...], axes: str | None, *, channels_first: bool) -> str:
    """What the axes of an image of this shape are.

    Raises:
        UsageError: no image has this shape.
    """
    if axes is not None:
        name = axes.upper() if isinstance(axes, str) else ""
        if sorted(name) not in [sorted(one) for one in _AXES]:
            msg = f"Image: axes={axes!r} is unknown; use one of {', '.join(_AXES)}"
            raise UsageError(msg)
        if len(name) != len(shape):
            msg = f"Image: axes={axes!r} has {len(name)} axes, the array has shape {shape}"
            raise UsageError(msg)
        if "C" in name and shape[name.index("C")] not in _NAMED_CHANNELS:
            msg = f"Image: {shape[name.index('C')]} channels (shape {shape}, axes {name}); an image has 1 to 4"
            raise UsageError(msg)
        return name
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
        if first and (channels_first or not last):
            return "CHW"
        if last:
            return "HWC"
    hint = "; log a list of images, or say axes='NCHW' for a grid" if len(shape) == 4 else ""
    msg = f"Image: shape {shape} is not (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4{hint}"
    raise UsageError(msg)


def grid_shape(shape: tuple[int, ...], axes: str) -> tuple[int, int, int]:
    """(height, width, channels) of the picture an array of these axes makes."""
    size = dict(zip(axes, shape, strict=True))
    columns, rows = grid(size.get("N", 1))
    return size["H"] * rows, size["W"] * columns, size.get("C", 1)


def _pil(image: Any) -> NDArray[Any]:
    import numpy as np

    if image.mode in {"L", "RGB", "RGBA"}:
        pass
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in {"P", "PA", "LA", "La", "RGBa"}:
        image = image.convert("RGBA" if image.mode != "P" or "transparency" in image.info else "RGB")
    elif image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        image = image.convert("RGB")
    else:
        msg = f"Image: a PIL image of mode {image.mode}; convert it to L, RGB or RGBA"
        raise UsageError(msg)
    array: NDArray[Any] = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def _boxes(boxes: Any) -> tuple[list[dict[str, Any]], str]:
    """(boxes as plain data, what was changed of them).

    Raises:
        UsageError: not four numbers each.
    """
    if boxes is None:
        return [], ""
    if hasattr(boxes, "shape"):
        if tuple(boxes.shape) in {(0,), (0, 4)}:
            return [], ""  # a detector that found nothing
        array = as_array(boxes, "boxes")
        if array.ndim != 2 or array.shape[1] != 4:
            msg = f"boxes: shape {array.shape} is not (n, 4)"
            raise UsageError(msg)
        boxes = [{"box": row} for row in array.tolist()]
    if isinstance(boxes, str | bytes | dict) or not hasattr(boxes, "__iter__"):
        instead = "; W&B's box_data is such a list, with label= in each" if isinstance(boxes, dict) else ""
        msg = f'boxes: {brief(boxes)} is no list of {{"box": (x0, y0, x1, y1), "label": …}}{instead}'
        raise UsageError(msg)
    found: list[dict[str, Any]] = []
    turned = lost = 0
    for given in boxes:
        one = given if isinstance(given, dict) else {"box": given}
        try:
            x0, y0, x1, y1 = (float(number) for number in one["box"])
        except (KeyError, TypeError, ValueError, OverflowError):
            msg = f"boxes: {brief(given)} has no four numbers (x0, y0, x1, y1)"
            raise UsageError(msg) from None
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            lost += 1
            continue
        turned += x1 < x0 or y1 < y0
        box: dict[str, Any] = {"box": [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]}
        if one.get("label") is not None:
            box["label"] = text_of(one["label"], "the label of a box")
        if one.get("score") is not None:
            try:
                box["score"] = float(one["score"])
            except (TypeError, ValueError, OverflowError):
                msg = f"boxes: the score {brief(one['score'])} is no number"
                raise UsageError(msg) from None
        found.append(box)
    remarks = [f"{turned} boxes that ended before they began were turned round"] if turned else []
    remarks += [f"{lost} boxes with a corner that is not finite were left out"] if lost else []
    return found, f"Image: {', '.join(remarks)}; the order is x0, y0, x1, y1" if remarks else ""


def _masks(masks: Any) -> dict[str, tuple[NDArray[Any], dict[str, str]]]:
    """By name (class numbers, names of classes). Raises UsageError."""
    if masks is not None and not isinstance(masks, Mapping):
        msg = f"masks: {type(masks).__name__} is no dict of name → (H, W) class numbers; {{'prediction': mask}}, say"
        raise UsageError(msg)
    return {text_of(name, "the name of a mask"): _mask(name, mask) for name, mask in (masks or {}).items()}


def _mask(name: str, mask: Any) -> tuple[NDArray[Any], dict[str, str]]:
    import numpy as np

    classes: dict[str, str] = {}
    if isinstance(mask, dict):
        if "data" not in mask or not isinstance(mask.get("classes", {}), Mapping):
            given = ", ".join(map(brief, mask))
            msg = f"mask {name!r}: {{'data': array, 'classes': {{1: 'car'}}}} is wanted, and its keys are {given}"
            raise UsageError(msg)
        classes = {
            text_of_any(number): text_of(word, "the name of a class")
            for number, word in mask.get("classes", {}).items()
        }
        mask = mask["data"]
    array = as_array(mask, f"mask {name!r}")
    low, high, _ = (0.0, 1.0, False) if array.dtype.kind == "b" else extent(array)
    if array.ndim != 2 or array.dtype.kind == "f" or low < 0 or high > 65535:
        msg = f"mask {name!r}: {array.dtype} of shape {array.shape} in {low:g}..{high:g}; "
        raise UsageError(msg + "a mask is (H, W) class numbers 0..65535")
    return array.astype(np.uint8 if high <= 255 else np.uint16), classes


# -- encoding ------------------------------------------------------------------------------------------------


def encode(raw: Raw, path: Path) -> None:
    """Write the PNG of captured pixels.

    Raises:
        OSError, CorruptError: as it says.
    """
    from steno.media.png import write_png

    (height, width, channels), strips = pictured(raw)
    with open(path, "xb") as file:
        write_png(file, strips, width, height, channels)


def pictured(raw: Raw) -> tuple[tuple[int, int, int], Iterator[NDArray[Any]]]:
    """((height, width, channels), strips from the top down) of captured pixels."""
    pixels = raw.arrays()["pixels"]
    axes = raw.header.get("axes", "HW")
    return grid_shape(pixels.shape, axes), _forgetting(raw, _strips(_nhwc(pixels, axes)))


def _nhwc(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    pixels = pixels.transpose([axes.index(axis) for axis in "NHWC" if axis in axes])
    if "C" not in axes:
        pixels = pixels[..., None]
    return pixels if "N" in axes else pixels[None]


def resized(pixels: NDArray[Any], axes: str, factor: float) -> NDArray[Any]:
    """The picture with sides `factor` times as long, uint8 (H, W, C).

    Raises:
        UsageError: nothing would be left of it, or pillow is not installed.
    """
    import numpy as np

    try:
        import PIL.Image
    except ImportError as error:
        raise UsageError("resizing a picture needs pillow: pip install 'stenolog[media]'") from error
    picture = np.concatenate([pixel_bytes(strip) for strip in _strips(_nhwc(pixels, axes))])
    height, width, channels = picture.shape
    size = (int(width * factor), int(height * factor))
    if min(size) < 1:
        raise UsageError(f"rescale={factor!r} leaves nothing of a picture of {width} by {height}")
    image = PIL.Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    found: NDArray[Any] = np.asarray(image.resize(size, PIL.Image.Resampling.LANCZOS))
    return found.reshape(size[1], size[0], channels)


def _forgetting(raw: Raw, strips: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    held = 0
    is_mask = raw.header["kind"] == "mask"
    for strip in strips:
        # The numbers of a mask's classes may need 16 bits.
        yield strip if is_mask else pixel_bytes(strip)
        held += strip.nbytes
        if held > FORGET_BYTES:
            raw.forget()
            held = 0


def _strips(images: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """The rows of a grid of images (N, H, W, C), some at a time; places left over are black."""
    import numpy as np

    count, height, width, channels = images.shape
    columns, rows = grid(count)
    some = max(1, CHUNK_BYTES // max(1, columns * width * channels * images.dtype.itemsize))
    for row in range(rows):
        members = images[row * columns : (row + 1) * columns]
        for at in range(0, height, some):
            if count == 1:
                yield members[0, at : at + some]
                continue
            strip = np.zeros((min(some, height - at), columns * width, channels), images.dtype)
            for place, image in enumerate(members):
                strip[:, place * width : (place + 1) * width] = image[at : at + some]
            yield strip


def from_raw(raw: Raw) -> NDArray[Any]:
    """The pixels, uint8 (H, W, C); a file is decoded."""
    import io

    import numpy as np

    if raw.ext is not None:
        return _decoded(io.BytesIO(raw.body))
    _, strips = pictured(raw)
    return np.concatenate(list(strips))


def from_file(path: Path) -> NDArray[Any]:
    """The pixels of an encoded image: uint8 (H, W, C), C of 1 to 4; a mask of many classes uint16 (H, W, 1).

    Raises:
        UsageError: pillow is not installed.
    """
    return _decoded(path)


def _decoded(file: Any) -> NDArray[Any]:
    import numpy as np

    try:
        import PIL.Image
    except ImportError as error:
        msg = "reading images needs pillow: pip install 'stenolog[media]'"
        raise UsageError(msg) from error
    with PIL.Image.open(file) as image:
        if image.mode.startswith("I"):
            deep: NDArray[Any] = np.asarray(image).astype(np.uint16)[:, :, None]
            return deep
        if image.mode == "LA":
            return np.asarray(image)
        return _pil(image)
