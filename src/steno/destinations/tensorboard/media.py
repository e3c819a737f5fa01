"""Media as TensorBoard summaries.

    image   22 { 08 height | 10 width | 18 channels | 22 file }            (field 4 of a summary's value)
    histo   2a { 09 min | 11 max | 19 num | 21 sum | 29 squares | 32 limits | 3a counts }          (field 5)
    audio   32 { 0d rate f32 | 10 channels | 18 frames | 22 file | 2a type }                       (field 6)
    tensor  42 { 08 dtype | 12 shape | 22 content, or 42 string }, 4a metadata                (fields 8 and 9)

Images, sounds and histograms are written as TensorBoard's own first form, which every reader of event files knows
and TensorBoard turns into its newer one as it reads.
"""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING, Any, Final

from steno.destinations.tensorboard.eventfile import text_value, varint
from steno.media import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from steno.record import Ref

WAIT_SECS: Final = 60.0
"""How long a value that is being encoded is waited for; only TensorBoard waits."""
LARGEST_BYTES: Final = 64 << 20
"""Larger files, or videos of more pixels, are left to the run's own directory."""
_TABLE_ROWS: Final = 100
_TYPES: Final = {"wav": b"audio/wav", "mp3": b"audio/mpeg", "flac": b"audio/flac", "ogg": b"audio/ogg"}
_MESH: Final = {"vertices": (1, "VERTEX"), "faces": (2, "FACE"), "colors": (3, "COLOR")}
_DTYPES: Final = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10,
    "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip


class Media:
    """Turns a `Ref` into the values of a summary. Not thread-safe.

    Deterministic once a value is encoded. What TensorBoard has no place for (HTML, plotly, masks), what is too large
    and what could not be encoded is left out and counted.

    Args:
        run_dir: the run's directory.
        wait_secs: how long a value that is being encoded is waited for.
        waits_again: whether that holds after one was waited for in vain; else nobody may be encoding.
    """

    def __init__(self, run_dir: Path, wait_secs: float = WAIT_SECS, *, waits_again: bool = True) -> None:
        self._run_dir = run_dir
        self._wait_secs = wait_secs
        self._waits_again = waits_again
        self.left_out: dict[str, int] = {}
        """By kind, and by what is odd about the value, how many were left out."""

    def values(self, key: str, ref: Ref) -> list[bytes]:
        """The values of one media point; each one the bytes of a `Summary.Value`."""
        try:
            found, why = self._made(key, ref)
        except Exception as error:  # a missing package, a damaged file: the neighbours are written
            found, why = [], f" ({type(error).__name__})"
        if not found:
            what = ref.kind + why
            self.left_out[what] = self.left_out.get(what, 0) + 1
        return found

    def _made(self, key: str, ref: Ref) -> tuple[list[bytes], str]:
        """The values, and why there are none where the kind alone does not say it."""
        write = _KINDS.get(ref.kind)
        if write is None:
            return [], ""
        if "lost" in ref.meta:
            return [], " that could not be encoded"
        # What is too large is not waited for either: encoding it takes long, and the scalars stand behind it.
        if math.prod(ref.meta.get("shape", ())) > LARGEST_BYTES:
            return [], " of more than 64 MiB"
        path = files.encoded(self._run_dir, ref, self._wait_secs)
        if path is None and ref.file is not None:
            self._wait_secs *= self._waits_again
            return [], " without a file"
        if path is not None and path.stat().st_size > LARGEST_BYTES:
            return [], " of more than 64 MiB"
        # A plugin that looks for its tag by name is given that name.
        values = write({**ref.meta, "tag": key}, path)
        return [_tagged(end if ref.kind in _NAMED else key + end, body) for end, body in values], " of this form"


def _bytes(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def _int(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def _doubles(field: int, values: Any) -> bytes:
    import numpy as np

    return _bytes(field, np.asarray(values, "<f8").tobytes())


def _tagged(tag: str, body: bytes) -> bytes:
    return _bytes(1, tag.encode("utf-8", "replace")) + body


def _picture(height: int, width: int, channels: int, data: bytes) -> bytes:
    return _bytes(4, _int(1, height) + _int(2, width) + _int(3, channels) + _bytes(4, data))


def _image(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    assert path is not None
    if path.suffix == ".json":
        return
    data = path.read_bytes()
    shape = meta.get("shape")
    if meta.get("boxes"):
        data, shape = _boxed(data, meta["boxes"])
    elif shape is None:
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            shape = (image.height, image.width, len(image.getbands()))
    height, width, channels = shape
    yield "", _picture(height, width, channels, data)


def _boxed(data: bytes, boxes: list[Mapping[str, Any]]) -> tuple[bytes, tuple[int, int, int]]:
    """The picture with its boxes drawn in."""
    from PIL import Image, ImageDraw

    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    draw = ImageDraw.Draw(image)
    for box in boxes:
        x0, y0, x1, y1 = box["box"]
        draw.rectangle((x0, y0, x1, y1), outline=(255, 0, 0), width=2)
        words = [str(box["label"])] if "label" in box else []
        if "score" in box:
            words.append(f"{box['score']:.2f}")
        if words:
            text = " ".join(words).encode("latin-1", "replace").decode("latin-1")
            place = draw.textbbox((x0 + 3, y0 + 2), text)
            draw.rectangle((place[0] - 2, place[1] - 1, place[2] + 2, place[3] + 1), fill=(255, 0, 0))
            draw.text((x0 + 3, y0 + 2), text, fill=(255, 255, 255))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue(), (image.height, image.width, 3)


def _video(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    """A GIF in the place of an image, as tensorboardX shows videos."""
    assert path is not None
    if path.suffix == ".gif":
        data = path.read_bytes()
        width, height = struct.unpack_from("<HH", data, 6)
        yield "", _picture(height, width, 3, data)
        return
    from steno.media.gif import write_gif
    from steno.media.video import decoded

    shape = meta.get("shape")
    out = io.BytesIO()
    size: list[int] = []
    bytes_left = LARGEST_BYTES

    def frames() -> Iterator[NDArray[Any]]:
        nonlocal bytes_left
        for frame in decoded(path, path.suffix.lstrip(".")):
            # A side of odd length was padded for H.264.
            cut = frame[: shape[1], : shape[2]] if shape is not None else frame
            size[:] = cut.shape
            bytes_left -= cut.nbytes
            if bytes_left < 0:
                msg = "too many frames for a GIF"
                raise ValueError(msg)
            yield cut

    write_gif(out, frames(), float(meta.get("fps", 10)))
    yield "", _picture(size[0], size[1], 3, out.getvalue())


def _audio(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    assert path is not None
    rate, channels, frames = meta.get("rate", 0), meta.get("channels", 0), meta.get("frames", 0)
    if not rate and path.suffix == ".wav":
        import wave

        with wave.open(str(path), "rb") as sound:
            rate, channels, frames = sound.getframerate(), sound.getnchannels(), sound.getnframes()
    body = b"\x0d" + struct.pack("<f", rate) + _int(2, channels) + _int(3, frames)
    kind = _TYPES.get(path.suffix.lstrip("."), b"audio/wav")
    yield "", _bytes(6, body + _bytes(4, path.read_bytes()) + _bytes(5, kind))


def _histogram(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    if path is not None:
        from steno.media.histogram import from_file

        meta = from_file(path)
    counts, edges = meta["counts"], meta["edges"]
    total = float(meta.get("num", sum(counts)))
    low, high = (float(meta["min"]), float(meta["max"])) if total else (0.0, 0.0)
    # The form knows a bin's upper limit only: an empty bin below gives the first one its lower limit.
    yield (
        "",
        _bytes(
            5,
            _double(1, low)
            + _double(2, high)
            + _double(3, total)
            + _double(4, float(meta["sum"]))
            + _double(5, float(meta["sum_squares"]))
            + _doubles(6, edges)
            + _doubles(7, [0.0, *counts]),
        ),
    )


def _text(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    yield "", text_value(path.read_text(encoding="utf-8") if path is not None else meta["text"])


def _table(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    from steno.media.table import from_file

    assert path is not None
    table = from_file(path)
    lines = [_row(table.column_names), _row(["---"] * table.num_columns)]
    lines += [_row(list(row.values())) for row in table.slice(0, _TABLE_ROWS).to_pylist()]
    if table.num_rows > _TABLE_ROWS:
        lines.append(f"\n… {table.num_rows - _TABLE_ROWS} more rows")
    caption = meta.get("caption")
    yield "", text_value("\n".join([f"**{caption}**\n", *lines] if caption else lines))


def _row(cells: list[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _mesh(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    from steno.media.object3d import from_file

    assert path is not None
    arrays = from_file(path)
    components = 0
    for name in arrays:
        components |= 1 << _MESH[name][0]
    for name, array in arrays.items():
        number, word = _MESH[name]
        # The plugin joins the tensors again by the name within.
        about = (
            _bytes(2, meta["tag"].encode("utf-8", "replace"))
            + _int(3, number)
            + _bytes(5, str(meta.get("config", "")).encode())
        )
        about += b"".join(_int(6, side) for side in array.shape) + _int(7, components)
        yield f"_{word}", _plugin(b"mesh", about) + _tensor_field(array)


def _tensor(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:  # noqa: ARG001 - the file says it all
    from steno.media.bundle import from_file

    assert path is not None
    yield "", _plugin(b"tensor") + _tensor_field(from_file(path)["tensor"])


def _tensor_field(array: NDArray[Any]) -> bytes:
    shape = b"".join(_bytes(2, _int(1, side)) for side in array.shape)
    plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return _bytes(8, _int(1, _DTYPES[array.dtype.name]) + _bytes(2, shape) + _bytes(4, plain.tobytes()))


def _plugin(name: bytes, content: bytes = b"") -> bytes:
    """The metadata that has a value shown by a plugin."""
    return _bytes(9, _bytes(1, _bytes(1, name) + (_bytes(2, content) if content else b"")))


def _pr_curve(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:
    import numpy as np

    if path is not None:
        from steno.media.curve import from_file

        rows = np.stack(list(from_file(path).values()))
    else:
        rows = np.array(meta["curve"])
    with np.errstate(over="ignore"):
        tensor = _tensor_field(rows.astype("<f4"))
    yield "", _plugin(b"pr_curves", _int(2, int(meta["thresholds"]))) + tensor


def _layout(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:  # noqa: ARG001 - its meta says it all
    """Layout { 2 category { 1 title | 2 chart { 1 title | 2 multiline { 1 tag } | 3 margin { 1 series } } } }."""
    out = b""
    for category, charts in meta["layout"]:
        inner = _string(1, category)
        for title, kind, tags in charts:
            if kind == "Margin":
                series = b"".join(_string(field, tag) for field, tag in enumerate(tags, 1))
                content = _bytes(3, _bytes(1, series))
            else:
                content = _bytes(2, b"".join(_string(1, tag) for tag in tags))
            inner += _bytes(2, _string(1, title) + content)
        out += _bytes(2, inner)
    tensor = _int(1, 7) + _bytes(2, b"") + _bytes(8, out)  # DT_STRING, scalar
    yield "custom_scalars__config__", _plugin(b"custom_scalars") + _bytes(8, tensor)


_HPARAM_TYPES: Final = {"str": 1, "bool": 2, "float": 3}


def _hparams(meta: Mapping[str, Any], path: Path | None) -> Iterator[tuple[str, bytes]]:  # noqa: ARG001 - its meta says it all
    """What the plugin asks of a session: the experiment, its start and its end."""
    infos, values = b"", b""
    for name, value in meta["hparams"]:
        kind = type(value).__name__
        infos += _bytes(4, _string(1, name) + (_int(4, _HPARAM_TYPES[kind]) if kind in _HPARAM_TYPES else b""))
        if kind in _HPARAM_TYPES:
            values += _bytes(1, _string(1, name) + _bytes(2, _protobuf_value(value)))
    metrics = b"".join(_bytes(5, _bytes(1, _string(2, tag))) for tag in meta["metrics"])
    for tag, content in (
        ("experiment", _bytes(2, infos + metrics)),
        ("session_start_info", _bytes(3, values)),
        ("session_end_info", _bytes(4, _int(1, 1))),
    ):
        yield f"_hparams_/{tag}", _plugin(b"hparams", content)


def _protobuf_value(value: Any) -> bytes:
    """google.protobuf.Value { 2 number | 3 string | 4 bool }."""
    if isinstance(value, bool):
        return _int(4, int(value))
    if isinstance(value, str):
        return _string(3, value)
    return _double(2, value)


def _string(field: int, text: str) -> bytes:
    return _bytes(field, text.encode("utf-8", "replace"))


_NAMED: Final = frozenset({"hparams", "layout"})
_KINDS: Final[dict[str, Callable[[Mapping[str, Any], Path | None], Iterator[tuple[str, bytes]]]]] = {
    "image": _image,
    "figure": _image,
    "video": _video,
    "audio": _audio,
    "histogram": _histogram,
    "text": _text,
    "table": _table,
    "mesh": _mesh,
    "pr_curve": _pr_curve,
    "tensor": _tensor,
    "layout": _layout,
    "hparams": _hparams,
}
