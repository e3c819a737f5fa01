"""Moving pictures: `steno.Video`, its capture and its encoding as MP4 or GIF."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from steno import bounds
from steno.errors import UsageError, safe_repr
from steno.media.arguments import named
from steno.media.arrays import as_array, captioned, is_torch, joined, left_out
from steno.media.gif import write_gif
from steno.media.pixels import grid, on_white, out_of_range, pixel_bytes
from steno.media.raw import FORGET_BYTES, Captured, Raw, capture, capture_file, regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TYPES: Final = {"mp4": "mp4", "gif": "gif", "webm": "webm"}
_CHANNELS: Final = (1, 3, 4)
_NAMED_CHANNELS: Final = (1, 2, 3, 4)
"""Two, gray and alpha, only where `axes` says so."""
_MOST_FPS: Final = 1000.0
_AXES: Final = ("THW", "TCHW", "THWC", "NTHW", "NTCHW", "NTHWC")


class Video:
    """A video for `run.log`; its frames are copied when it is logged, and encoded by the collector.

    Args:
        data: an array of shape (T, H, W), (T, C, H, W), (T, H, W, C), or (N, T, C, H, W) for a grid of N videos,
            C of 1, 3 or 4; uint8 or other integers in 0..255, bool, or floats in [0, 1]. What is out of range is
            clipped and NaN drawn black, which is said once per key. Or the path of an mp4, gif or webm file, which
            is kept as it is.
        fps: frames per second, at most 1000.
        format: "mp4" (H.264, needs av) or "gif" (needs pillow): `stenolog[media]`.
        caption: shown with it.
        axes: what the array's axes are; default: by shape; if both could be channels, a torch tensor has them
            before the rows and everything else last.

    Raises:
        UsageError: wrong shape or dtype, empty, or a file that is no video.

    When `log` has returned, the frames survive the process. Frames of one GB are written straight to a file and
    read from it frame by frame.
    """

    __slots__ = ("_axes", "_caption", "_data", "_ext", "_format", "_fps", "remark")

    @named
    def __init__(
        self,
        data: Any,
        fps: float = 4,
        format: str = "mp4",
        caption: str | None = None,
        *,
        axes: str | None = None,
    ) -> None:
        self._data: Any
        self.remark = ""
        """What is changed so that it can be recorded."""
        self._caption = captioned(caption)
        self._ext: str | None = None
        self._axes = ""
        try:
            right = float(fps) > 0 and not isinstance(fps, str)
        except Exception:
            right = False
        if not right:
            msg = f"Video: fps={safe_repr(fps)} is not a number of frames per second"
            raise UsageError(msg)
        self._fps = min(float(fps), _MOST_FPS)
        if format not in {"mp4", "gif"}:
            msg = f"Video: format={format!r} is unknown; use 'mp4' or 'gif'"
            raise UsageError(msg)
        self._format = format
        if isinstance(data, (str, os.PathLike)):
            self._data, self._ext = regular_file(data, "Video", TYPES)
            return
        self._data = as_array(data, "Video")
        self._axes = _axes(self._data.shape, axes, channels_first=is_torch(data))
        cut = f"Video: fps={fps!r} was cut to {_MOST_FPS:g}" if self._fps < float(fps) else ""
        self.remark = joined(left_out(data, "Video"), out_of_range(self._data, "Video"), cut)

    def __repr__(self) -> str:
        return f"steno.Video({self._data if self._ext else self._data.shape}, fps={self._fps:g})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        if self._ext is not None:
            return capture_file("video", {"ext": self._ext}, str(self._data), {"ext": self._ext, **self._caption})
        size = dict(zip(self._axes, self._data.shape, strict=True))
        columns, rows = grid(size.get("N", 1))
        shape = [size["T"], size["H"] * rows, size["W"] * columns, size.get("C", 1)]
        meta = {"ext": self._format, "shape": shape, "fps": self._fps, **self._caption}
        header = {"axes": self._axes, "fps": self._fps, "format": self._format}
        return capture("video", header, {"frames": self._data}, meta, remark=self.remark)


def _axes(shape: tuple[int, ...], axes: str | None, *, channels_first: bool) -> str:
    if axes is not None:
        name = axes.upper() if isinstance(axes, str) else ""
        if sorted(name) not in [sorted(one) for one in _AXES] or len(name) != len(shape):
            msg = f"Video: axes={axes!r} do not fit the shape {shape}; use one of {', '.join(_AXES)}"
            raise UsageError(msg)
        if "C" in name and shape[name.index("C")] not in _NAMED_CHANNELS:
            msg = f"Video: {shape[name.index('C')]} channels (shape {shape}, axes {name}); a video has 1 to 4"
            raise UsageError(msg)
        return name
    lead = {3: "T", 4: "T", 5: "NT"}.get(len(shape))
    if len(shape) == 3:
        return "THW"
    if lead is not None:
        first, last = shape[-3] in _CHANNELS, shape[-1] in _CHANNELS
        if first and (channels_first or not last):
            return lead + "CHW"
        if last:
            return lead + "HWC"
    msg = f"Video: shape {shape} is not (T, H, W), (T, C, H, W), (T, H, W, C) or (N, T, C, H, W) with C of 1, 3 or 4"
    raise UsageError(msg)


# -- encoding ------------------------------------------------------------------------------------------------


def frames(raw: Raw) -> Iterator[NDArray[Any]]:
    """The captured frames one by one, uint8 (H, W, C); a grid of videos as one picture."""
    import numpy as np

    pixels = raw.arrays()["frames"]
    axes: str = raw.header["axes"]
    pixels = pixels.transpose([axes.index(axis) for axis in "TNHWC" if axis in axes])
    if "C" not in axes:
        pixels = pixels[..., None]
    size_bytes = pixels.nbytes // len(pixels)
    for index, frame in enumerate(pixels):
        if index * size_bytes // FORGET_BYTES != (index + 1) * size_bytes // FORGET_BYTES:
            raw.forget()
        if "N" not in axes:
            yield pixel_bytes(np.ascontiguousarray(frame))
            continue
        count, height, width, channels = frame.shape
        columns, rows = grid(count)
        canvas = np.zeros((rows * height, columns * width, channels), frame.dtype)
        for place in range(count):
            top, left = place // columns * height, place % columns * width
            canvas[top : top + height, left : left + width] = frame[place]
        yield pixel_bytes(canvas)


def encode(raw: Raw, path: Path) -> None:
    """Write captured frames as MP4 or GIF, one frame in memory at a time.

    Raises:
        ImportError: av or pillow is not installed.
        OSError, ValueError: as they say.
    """
    if raw.header["format"] == "gif":
        with open(path, "xb") as file:
            write_gif(file, frames(raw), raw.header["fps"])
    else:
        _write_mp4(path, frames(raw), raw.header["fps"])


def _write_mp4(path: Path, pictures: Iterator[NDArray[Any]], fps: float) -> None:
    from fractions import Fraction

    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = None
        for picture in pictures:
            rgb = _even_rgb(picture)
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
                # One thread: the cores belong to the training.
                stream.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
            for packet in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")):
                container.mux(packet)
        if stream is not None:
            for packet in stream.encode():
                container.mux(packet)


def _even_rgb(picture: NDArray[Any]) -> NDArray[Any]:
    """Three channels and even sides, as H.264 wants them: the last row or column is repeated."""
    import numpy as np

    rgb = on_white(picture)
    height, width, _ = rgb.shape
    if height % 2 or width % 2:
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return np.ascontiguousarray(rgb)


def from_raw(raw: Raw) -> NDArray[Any]:
    """The frames, uint8 (T, H, W, C); a file is decoded to three channels."""
    import io

    import numpy as np

    if raw.ext is not None:
        return np.stack(list(decoded(io.BytesIO(raw.body), raw.ext)))
    return np.stack(list(frames(raw)))


def from_file(path: Path) -> NDArray[Any]:
    """The frames of an encoded video, uint8 (T, H, W, 3).

    Raises:
        UsageError: av or pillow is not installed.
    """
    import numpy as np

    frames, size = [], 0
    for frame in decoded(path, path.suffix.lstrip(".")):
        size += 2 * frame.nbytes  # once by itself, once with the others
        bounds.decoded(path, size)
        frames.append(frame)
    return np.stack(frames)


def decoded(file: Any, ext: str) -> Iterator[NDArray[Any]]:
    """The frames of a video file one by one, uint8 (H, W, 3).

    Raises:
        UsageError: av or pillow is not installed.
    """
    import numpy as np

    try:
        if ext == "gif":
            import PIL.Image
            import PIL.ImageSequence

            with PIL.Image.open(file) as image:
                for frame in PIL.ImageSequence.Iterator(image):
                    yield np.asarray(frame.convert("RGB"))
            return
        import av
    except ImportError as error:
        msg = f"reading a {ext} file needs pillow and av: pip install 'stenolog[media]'"
        raise UsageError(msg) from error
    with av.open(file if hasattr(file, "read") else str(file)) as container:
        for picture in container.decode(video=0):
            yield picture.to_ndarray(format="rgb24")
