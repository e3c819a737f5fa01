"""Pixels, as all kinds of picture have them: checked, drawn, gathered in a grid, made into bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.arrays import extent

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK: Final = 1e-3
"""Arithmetic leaves float pixels a little outside [0, 1]: nobody is warned that they are clipped."""


def out_of_range(array: NDArray[Any], what: str) -> str:
    """What becomes of elements that are no pixels when they are drawn; "" when all are pixels."""
    kind = array.dtype.kind
    if kind == "b" or array.dtype == "u1":
        return ""
    low, high, broken = extent(array)
    remarks = []
    if kind == "f" and (low < -_SLACK or high > 1 + _SLACK):
        remedy = "convert to uint8" if low >= 0 and high <= 255 else "scale them"
        remarks.append(f"float pixels in [{low:g}, {high:g}] were clipped to [0, 1]; {remedy} to see them all")
    if kind in "iu" and (low < 0 or high > 255):
        remarks.append(f"integer pixels in {low:g}..{high:g} were clipped to 0..255; scale them to see them all")
    if broken:
        remarks.append("pixels that are NaN were drawn black, infinite ones clipped")
    return f"{what}: {', '.join(remarks)}" if remarks else ""


def grid(count: int) -> tuple[int, int]:
    """(columns, rows) for so many pictures side by side, as square as it can be."""
    columns = math.ceil(math.sqrt(count))
    return columns, -(-count // columns)


def rendered(figure: Any) -> NDArray[Any]:
    """The pixels of a matplotlib figure, uint8 (H, W, 4), whatever its canvas is.

    Raises:
        UsageError: it cannot be drawn.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = figure.canvas
    try:
        # A canvas of our own: a window's canvas may belong to another thread. Making one takes the figure's place.
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())
    except (ValueError, RuntimeError, TypeError) as error:
        msg = f"the figure cannot be drawn: {error}"
        raise UsageError(msg) from error
    finally:
        figure.set_canvas(shown)


def on_white(picture: NDArray[Any]) -> NDArray[Any]:
    """uint8 (H, W, 3) of a picture, gray or RGB, with alpha or without; what is transparent is white."""
    import numpy as np

    channels = picture.shape[2]
    if channels == 3:
        return picture
    if channels < 3:
        picture = np.concatenate([np.repeat(picture[:, :, :1], 3, axis=2), picture[:, :, 1:]], axis=2)
        if channels == 1:
            return picture
    alpha = picture[:, :, 3:].astype(np.uint16)
    mixed = (picture[:, :, :3].astype(np.uint16) * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def pixel_bytes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of any dtype as uint8: what is out of range is clipped, NaN is 0."""
    import numpy as np

    kind = pixels.dtype.kind
    if pixels.dtype == np.uint8:
        return pixels
    if kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore"):
        if kind == "f":
            pixels = np.nan_to_num(pixels.astype(np.float32)) * np.float32(255) + np.float32(0.5)
        plain: NDArray[Any] = np.clip(pixels, 0, 255).astype(np.uint8)
    return plain
