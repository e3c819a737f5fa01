"""Writes animated GIFs frame by frame: Pillow's own writer keeps all frames in memory."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING, Any, Final

from steno.media.pixels import on_white

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

_SCREEN_AT: Final = 6
"""Where width, height, flags, background and aspect stand, after the signature."""
_HEAD_BYTES: Final = 13
_EXTENSION: Final = 0x21


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
    from PIL import Image

    has_header = False
    for frame in frames:
        height, width, channels = frame.shape
        if not has_header:
            if max(height, width) > 65_535:
                msg = f"a GIF of {width} by {height} is too large"
                raise ValueError(msg)
            file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
            file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            has_header = True
        if channels == 1:
            image = Image.fromarray(np.ascontiguousarray(frame[:, :, 0]))
            image = _gray_palette(image)
        else:
            image = Image.fromarray(np.ascontiguousarray(on_white(frame))).quantize(
                256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
            )
        file.write(struct.pack("<4sHxx", b"\x21\xf9\x04\x00", _delay_centiseconds(fps)))
        file.writelines(_picture(image))
    if not has_header:
        msg = "a GIF without frames"
        raise ValueError(msg)
    file.write(b";")


def _picture(image: Any) -> Iterator[bytes]:
    """The picture as one of a GIF's with colors of its own, out of the GIF that Pillow makes of it alone."""
    out = io.BytesIO()
    image.save(out, "GIF", optimize=False, interlace=0)
    data = out.getvalue()
    colors, at = _colors(data, _SCREEN_AT + 4, _HEAD_BYTES)
    while data[at] == _EXTENSION:
        at += 2
        while data[at]:  # a block and its length, up to an empty one
            at += 1 + data[at]
        at += 1
    frame = data[at : at + 9]
    own, begin = _colors(data, at + 9, at + 10)
    colors = own or colors
    yield frame + bytes([0x80 | (len(colors) // 3).bit_length() - 2])
    yield colors
    yield data[begin : data.rindex(b";")]


def _colors(data: bytes, flags_at: int, at: int) -> tuple[bytes, int]:
    """A table of colors, if the flags say that there is one, and where it ends."""
    flags = data[flags_at]
    size = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    return data[at : at + size], at + size


def _gray_palette(image: Any) -> Any:
    """A gray picture as a palette picture: the 256 grays are the colors, and nothing is lost."""
    from PIL import Image

    shown = Image.frombytes("P", image.size, image.tobytes())
    shown.putpalette([level for level in range(256) for _ in range(3)])
    return shown


def _delay_centiseconds(fps: float) -> int:
    """A GIF frame's time; browsers slow down what is under 2."""
    return max(2, math.floor(100 / fps + 0.5))
