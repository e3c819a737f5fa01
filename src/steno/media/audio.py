"""Sound: `steno.Audio`, its capture and its encoding as WAV."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from steno import bounds
from steno.errors import UsageError
from steno.media.arguments import named
from steno.media.arrays import as_array, captioned, extent, is_torch, joined, left_out
from steno.media.raw import Captured, Raw, capture, capture_file, regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TYPES: Final = {"wav": "wav", "mp3": "mp3", "flac": "flac", "ogg": "ogg"}
_MAX_CHANNELS: Final = 32
_FRAMES: Final = 1 << 18
_SLACK: Final = 1e-3


class Audio:
    """Sound for `run.log`; copied when it is logged, and written by the collector as 16-bit WAV.

    Args:
        data: an array of shape (frames,), (frames, channels) or (channels, frames), the shorter axis being the
            channels; floats in [-1, 1], or integers as a WAV file has them: int16, int32, or uint8 around 128.
            What is out of range is clipped and NaN is silence, which is said once per key. Or the path of a wav,
            mp3, flac or ogg file, kept as it is.
        sample_rate: frames per second, Hz, rounded.
        caption: shown with it.

    Raises:
        UsageError: wrong shape, dtype or rate, empty, or a file that is no sound.

    When `log` has returned, the sound survives the process.
    """

    __slots__ = ("_caption", "_channels_first", "_data", "_ext", "_rate", "remark")

    @named
    def __init__(self, data: Any, sample_rate: int = 44100, caption: str | None = None) -> None:
        self._data: Any
        self.remark = ""
        """What is changed so that it can be recorded."""
        self._caption = captioned(caption)
        self._ext: str | None = None
        self._channels_first = False
        try:
            rate = round(float(sample_rate))
        except (TypeError, ValueError, OverflowError):
            rate = 0
        if not 1 <= rate < 2**31:
            msg = f"Audio: sample_rate={sample_rate!r} is not a number of Hz"
            raise UsageError(msg)
        self._rate = rate
        if isinstance(data, (str, os.PathLike)):
            self._data, self._ext = regular_file(data, "Audio", TYPES)
            return
        array = as_array(data, "Audio")
        if array.ndim > 2:
            array = array.squeeze()
        if array.ndim not in {1, 2} or (array.ndim == 2 and min(array.shape) > _MAX_CHANNELS):
            msg = f"Audio: shape {array.shape} is not (frames,), (frames, channels) or (channels, frames)"
            raise UsageError(msg)
        self._data, remark = _samples(array)
        self.remark = joined(left_out(data, "Audio"), remark)
        if array.ndim == 2:
            first, last = array.shape
            self._channels_first = first < last or (first == last and is_torch(data))

    def __repr__(self) -> str:
        return f"steno.Audio({self._data if self._ext else self._data.shape}, {self._rate})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        if self._ext is not None:
            return capture_file("audio", {"ext": self._ext}, str(self._data), {"ext": self._ext, **self._caption})
        array = self._data
        channels = 1 if array.ndim == 1 else array.shape[0 if self._channels_first else 1]
        meta = {
            "ext": "wav",
            "rate": self._rate,
            "channels": channels,
            "frames": array.size // channels,
            **self._caption,
        }
        header = {"rate": self._rate, "channels_first": self._channels_first}
        return capture("audio", header, {"sound": array}, meta, remark=self.remark)


def _samples(array: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """(floats or int16, what was changed of them)."""
    import numpy as np

    kind = array.dtype.kind
    if array.dtype == "i2":
        return array, ""
    if kind == "b":
        return array.astype(np.float32), ""
    low, high, broken = extent(array)
    remarks = []
    if kind == "f":
        if low < -1 - _SLACK or high > 1 + _SLACK:
            remarks.append(f"floats in [{low:g}, {high:g}] were clipped to [-1, 1]; divide by the loudest")
        if broken:
            remarks.append("NaN was made silence, infinite samples clipped")
        return array, f"Audio: {', '.join(remarks)}" if remarks else ""
    if array.dtype == "u1":
        return (array.astype(np.int16) - 128) << 8, ""
    if low >= -(2**15) and high < 2**15:
        return array.astype(np.int16), ""
    if low < -(2**31) or high >= 2**31:
        remarks.append(f"Audio: integers in {low:g}..{high:g} were clipped to 32 bits; int16 and int32 are samples")
    return (np.clip(array, -(2**31), 2**31 - 1).astype(np.int64) >> 16).astype(np.int16), "".join(remarks)


# -- encoding ------------------------------------------------------------------------------------------------


def _frames(raw: Raw) -> NDArray[Any]:
    """The captured sound as a view of shape (frames, channels)."""
    sound = raw.arrays()["sound"]
    if sound.ndim == 1:
        return sound[:, None]
    return sound.T if raw.header["channels_first"] else sound


def _int16(sound: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    if sound.dtype.kind == "f":
        with np.errstate(over="ignore"):
            sound = np.clip(np.rint(np.nan_to_num(sound.astype(np.float32)) * 32767), -32767, 32767)
    return sound.astype("<i2")


def encode(raw: Raw, path: Path) -> None:
    """Write the WAV of a captured sound, a few seconds at a time."""
    import wave

    sound = _frames(raw)
    with open(path, "xb") as file, wave.open(file, "wb") as out:
        out.setnchannels(sound.shape[1])
        out.setsampwidth(2)
        out.setframerate(raw.header["rate"])
        out.setnframes(len(sound))
        for at in range(0, len(sound), _FRAMES):
            out.writeframes(_int16(sound[at : at + _FRAMES]).tobytes())
            raw.forget()


def from_raw(raw: Raw) -> NDArray[Any]:
    """The sound, float32 (frames, channels) in [-1, 1]."""
    import io

    import numpy as np

    if raw.ext is not None:
        return _decoded(io.BytesIO(raw.body), raw.ext)
    return _int16(_frames(raw)).astype(np.float32) / np.float32(32767)


def from_file(path: Path) -> NDArray[Any]:
    """The sound of an encoded file, float32 (frames, channels) in [-1, 1].

    Raises:
        UsageError: it is not WAV and av is not installed.
    """
    return _decoded(path, path.suffix.lstrip("."))


def _decoded(file: Any, ext: str) -> NDArray[Any]:
    import numpy as np

    if ext == "wav":
        import wave

        try:
            with wave.open(file if hasattr(file, "read") else str(file), "rb") as sound:
                if sound.getsampwidth() == 2:
                    frames = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
                    return frames.reshape(-1, sound.getnchannels()).astype(np.float32) / np.float32(32767)
        except wave.Error:
            pass  # float or compressed WAV
        if hasattr(file, "seek"):
            file.seek(0)
    try:
        import av
    except ImportError as error:
        msg = f"reading a {ext} file needs av: pip install 'stenolog[media]'"
        raise UsageError(msg) from error
    with av.open(file if hasattr(file, "read") else str(file)) as container:
        resampler = av.AudioResampler(format="flt")
        pieces: list[NDArray[Any]] = []
        size = 0
        for frame in container.decode(audio=0):
            made = [out.to_ndarray().reshape(-1, len(out.layout.channels)) for out in resampler.resample(frame)]
            size += 2 * sum(one.nbytes for one in made)  # once by themselves, once with the others
            bounds.decoded("the sound", size)
            pieces += made
        return np.concatenate(pieces).astype(np.float32)
