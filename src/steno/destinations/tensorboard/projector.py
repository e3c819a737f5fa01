"""The files of TensorBoard's projector: an embedding's points, labels and pictures, and the list of them."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING, Any

from steno import files, inside
from steno.destinations.tensorboard import subruns
from steno.errors import CorruptError, Stop
from steno.media import files as media_files
from steno.media.bundle import from_file
from steno.record import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from steno.record import Batch

_CONFIG = "projector_config.pbtxt"
_WAIT_SECS = 60.0


def place(batch: Batch, splits: NDArray[np.int64], row: int, folder: Path, root: Path, run_dir: Path) -> None:
    """Write the files of a record's embeddings; written again, they are the same.

    Args:
        batch: the record's.
        splits: `batch.splits()`.
        row: the record's.
        folder: the event files' directory.
        root: the directory that nothing is written outside of.
        run_dir: the run's.

    Raises:
        OSError: they cannot be written.
        Stop: a symbolic link is in the way.
    """
    keys = batch.sets[batch.set[row]]
    for index, point in enumerate(range(int(splits[row]), int(splits[row + 1]))):
        ref = batch.special.get(point)
        if isinstance(ref, Ref) and ref.kind == "embedding":
            path = media_files.encoded(run_dir, ref, _WAIT_SECS)
            if path is not None:
                _write(root, folder, keys[index], int(batch.step[row]), ref.meta, from_file(path))


def _write(
    root: Path, folder: Path, tag: str, step: int, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    name = tag.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    sub = f"{step:05d}/{subruns.folder(name)}"
    try:
        target = inside.path(root, (folder / sub).relative_to(root).as_posix())
        inside.refuse_link(folder / _CONFIG)
    except CorruptError as error:
        raise Stop(str(error)) from error
    target.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(repr(value) for value in row) for row in arrays["points"].tolist()]
    files.replace(target / "tensors.tsv", ("\n".join(lines) + "\n").encode())
    entry = [f'tensor_name: "{_quoted(tag)}:{step:05d}"', f'tensor_path: "{_quoted(sub)}/tensors.tsv"']
    if "labels" in arrays:
        files.replace(target / "metadata.tsv", arrays["labels"].tobytes())
        entry.append(f'metadata_path: "{_quoted(sub)}/metadata.tsv"')
    if "pictures" in arrays:
        files.replace(target / "sprite.png", _sprite(arrays["pictures"]))
        height, width = meta["picture"]
        entry.append(
            f'sprite {{ image_path: "{_quoted(sub)}/sprite.png" single_image_dim: {width} single_image_dim: {height} }}'
        )
    config = folder / _CONFIG
    there = config.read_text(encoding="utf-8") if config.exists() else ""
    if entry[1] not in there:
        block = "".join(f"  {line}\n" for line in entry)
        files.replace(config, f"{there}embeddings {{\n{block}}}\n".encode())


def _quoted(text: str) -> str:
    """Text as it stands between the quotes of a pbtxt."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _sprite(pictures: NDArray[Any]) -> bytes:
    """The pictures, (n, height, width, 3) uint8, row by row in a square."""
    import numpy as np
    from PIL import Image

    count, height, width, _ = pictures.shape
    across = math.ceil(math.sqrt(count))
    canvas = np.zeros((across * height, across * width, 3), np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // across * height, index % across * width
        canvas[top : top + height, left : left + width] = picture
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "PNG")
    return out.getvalue()
