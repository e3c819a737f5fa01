"""Pixels, as all kinds of picture have them: checked, drawn, gathered in a grid, made into bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from steno.errors import UsageError
from steno.media.arrays import extent

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK: Final = 1e-3
"""Arithmetic leaves float pixels a little outside [0, 1]: they are clipped, not refused."""


def in_range(array: NDArray[Any], what: str) -> None:
    """Check that the elements are pixels.

    Raises:
        UsageError: out of range.
    """
    kind = array.dtype.kind
    if kind == "b" or array.dtype == "u1":
        return
    low, high = extent(array, what)
    if kind == "f" and not (low >= -_SLACK and high <= 1 + _SLACK):
        msg = f"{what}: float pixels must lie in [0, 1], these in [{low:g}, {high:g}]; "
        msg += "convert to uint8" if low >= 0 and high <= 255 else "scale them"
        raise UsageError(msg)
    if kind in "iu" and not (low >= 0 and high <= 255):
        msg = f"{what}: integer pixels must lie in 0..255, these in {low:g}..{high:g}; scale them to uint8"
        raise UsageError(msg)


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
    """uint8 (H, W, 3) of a gray, RGB or RGBA picture; what is transparent is white."""
    import numpy as np

    channels = picture.shape[2]
    if channels == 3:
        return picture
    if channels == 1:
        return np.repeat(picture, 3, axis=2)
    alpha = picture[:, :, 3:].astype(np.uint16)
    mixed = (picture[:, :, :3].astype(np.uint16) * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def pixel_bytes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of any accepted dtype as uint8; uint16 (masks) stays."""
    import numpy as np

    kind = pixels.dtype.kind
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if kind == "f":
        scaled = np.nan_to_num(pixels.astype(np.float32)) * np.float32(255) + np.float32(0.5)
        pixels = scaled
    plain: NDArray[Any] = np.clip(pixels, 0, 255).astype(np.uint8)
    return plain
