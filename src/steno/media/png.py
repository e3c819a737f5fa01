"""Writes PNG files from rows as they come: an image of any size passes through little memory."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from numpy.typing import NDArray

_COLOR: Final = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels → PNG color type: gray, gray and alpha, RGB, RGBA."""
_LEVEL: Final = 5


def write_png(file: BinaryIO, strips: Iterable[NDArray[Any]], width: int, height: int, channels: int) -> None:
    """Write an image; deterministic, so that equal pixels make equal files.

    Args:
        file: where to.
        strips: arrays (rows, width, channels) of uint8, or of uint16, from the top down; `height` rows together.
        width, height, channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
    """
    iterator = iter(strips)
    first = next(iterator)
    depth = first.dtype.itemsize
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOR[channels], 0, 0, 0))
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros(width * channels * depth, np.uint8)
    strip: NDArray[Any] | None = first
    while strip is not None:
        rows = np.ascontiguousarray(strip, ">u2" if depth == 2 else np.uint8)
        lines = rows.reshape(len(rows), -1).view(np.uint8)
        packed = packer.compress(_filtered(lines, above, channels * depth))
        if packed:
            _chunk(file, b"IDAT", packed)
        above = lines[-1]
        strip = next(iterator, None)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _filtered(lines: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> bytes:
    """Each line as it is, less its left or less its upper neighbour, whichever looks smallest."""
    count, size = lines.shape
    left, up = lines.copy(), lines.copy()
    left[:, step:] -= lines[:, :-step]
    up[1:] -= lines[:-1]
    up[0] -= above
    out = np.empty((count, size + 1), np.uint8)
    # Sum of distances from zero modulo 256: the usual guess at what packs best. Plain lines win ties and noise.
    costs = np.stack([np.minimum(some, -some).sum(1, dtype=np.int64) for some in (lines, left, up)])
    choice = costs.argmin(0).astype(np.uint8)
    out[:, 0] = choice
    out[:, 1:] = lines
    for kind, some in ((1, left), (2, up)):
        chosen = choice == kind
        if chosen.any():
            out[chosen, 1:] = some[chosen]
    return out.tobytes()


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
