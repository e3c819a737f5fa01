"""Meshes and point clouds: `steno.Mesh`, kept as NPZ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steno.errors import UsageError
from steno.media.arrays import as_array, captioned, extent
from steno.media.raw import Captured, Raw, capture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


class Mesh:
    """A mesh or point cloud for `run.log`; copied when it is logged, kept by the collector as NPZ.

    Args:
        vertices: shape (n, 3) or (batch, n, 3), finite floats.
        colors: shape as vertices, 0..255 integers.
        faces: shape (m, 3) or (batch, m, 3), integers in 0..n-1; without them it is a point cloud.
        config: for TensorBoard's viewer: camera, lights, material; plain data.
        caption: shown with it.

    Raises:
        UsageError: wrong shape, dtype or range, or empty.

    When `log` has returned, the mesh survives the process.
    """

    __slots__ = ("_arrays", "_caption", "_config")

    def __init__(
        self,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
        caption: str | None = None,
    ) -> None:
        self._caption = captioned(caption)
        points = _batched(vertices, "vertices")
        extent(points, "Mesh vertices")
        self._arrays = {"vertices": points}
        if colors is not None:
            found = _batched(colors, "colors")
            low, high = extent(found, "Mesh colors")
            if found.shape != points.shape or low < 0 or high > 255 or found.dtype.kind == "f":
                msg = f"Mesh: colors are 0..255 integers of the shape of the vertices {points.shape}, "
                msg += f"not {found.dtype} of shape {found.shape} in {low:g}..{high:g}"
                raise UsageError(msg)
            self._arrays["colors"] = found
        if faces is not None:
            found = _batched(faces, "faces")
            low, high = extent(found, "Mesh faces")
            if found.dtype.kind not in "iu" or len(found) != len(points) or low < 0 or high >= points.shape[1]:
                msg = (
                    f"Mesh: faces are triples of vertex numbers 0..{points.shape[1] - 1}, as many meshes as vertices; "
                )
                msg += f"not {found.dtype} of shape {found.shape} in {low:g}..{high:g}"
                raise UsageError(msg)
            self._arrays["faces"] = found
        try:
            self._config = json.dumps(config, allow_nan=False) if config is not None else ""
        except (TypeError, ValueError) as error:
            msg = f"Mesh: config is not plain data: {error}"
            raise UsageError(msg) from error

    def __repr__(self) -> str:
        return f"steno.Mesh({', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta: dict[str, Any] = {"ext": "npz", "parts": list(self._arrays), **self._caption}
        meta["shape"] = list(self._arrays["vertices"].shape)
        if self._config:
            meta["config"] = self._config
        return capture("mesh", {}, self._arrays, meta)


def _batched(data: Any, name: str) -> NDArray[Any]:
    array = as_array(data, f"Mesh {name}")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[2] != 3:
        msg = f"Mesh: {name} of shape {array.shape} are not (n, 3) or (batch, n, 3)"
        raise UsageError(msg)
    return array


_TYPES = {"vertices": "<f4", "colors": "|u1", "faces": "<i4"}


def encode(raw: Raw, path: Path) -> None:
    """Write the arrays as NPZ."""
    import numpy as np

    arrays: dict[str, Any] = from_raw(raw)
    with open(path, "xb") as file:
        np.savez(file, **arrays)


def from_raw(raw: Raw) -> dict[str, NDArray[Any]]:
    """{"vertices": float32 (batch, n, 3), "colors": uint8, "faces": int32 (batch, m, 3)}, what there is of them."""
    return {name: array.astype(_TYPES[name]) for name, array in raw.arrays().items()}


def from_file(path: Path) -> dict[str, NDArray[Any]]:
    """The same, from its file."""
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}
