"""Writes animated GIFs frame by frame: Pillow's own writer keeps all frames in memory."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from numpy.typing import NDArray


def write_gif(file: BinaryIO, frames: Iterable[NDArray[Any]], fps: float) -> None:
    """Write a GIF that loops for ever; each frame has its own 256 colors. Deterministic.

    Args:
        file: where to.
        frames: uint8 (H, W, C), C of 1, 3 or 4, at least one.
        fps: frames per second; a GIF cannot say more than 50.

    Raises:
        ImportError: pillow is not installed.
        ValueError: a side is longer than 65,535.
    """
    import numpy as np
    from PIL import GifImagePlugin, Image

    from steno.media.video import delay_centiseconds, on_white

    delay = delay_centiseconds(fps)
    begun = False
    for frame in frames:
        height, width, channels = frame.shape
        if not begun:
            if max(height, width) > 65_535:
                msg = f"a GIF of {width} by {height} is too large"
                raise ValueError(msg)
            file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
            file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            begun = True
        if channels == 1:
            image = Image.fromarray(np.ascontiguousarray(frame[:, :, 0]))
            image = _gray_palette(image)
        else:
            image = Image.fromarray(np.ascontiguousarray(on_white(frame))).quantize(
                256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
            )
        # Pillow counts a frame's time in milliseconds.
        file.writelines(GifImagePlugin.getdata(image, (0, 0), duration=10 * delay, include_color_table=True))
    if not begun:
        msg = "a GIF without frames"
        raise ValueError(msg)
    file.write(b";")


def _gray_palette(image: Any) -> Any:
    """A gray picture as a palette picture: the 256 grays are the colors, and nothing is lost."""
    from PIL import Image

    shown = Image.frombytes("P", image.size, image.tobytes())
    shown.putpalette([level for level in range(256) for _ in range(3)])
    return shown
