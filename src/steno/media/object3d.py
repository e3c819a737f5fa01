"""Meshes and point clouds: `steno.Object3D`, kept as NPZ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steno import bounds
from steno.errors import UsageError
from steno.media.arguments import named
from steno.media.arrays import as_array, captioned, extent
from steno.media.raw import Captured, Raw, capture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


class Object3D:
    """A mesh or point cloud for `run.log`; copied when it is logged, kept by the collector as NPZ.

    Args:
        vertices: shape (n, 3) or (batch, n, 3).
        colors: shape as vertices, or one that numpy spreads over them; 0..255.
        faces: shape (m, 3) or (batch, m, 3), whole numbers in 0..n-1; without them it is a point cloud.
        config: for TensorBoard's viewer: camera, lights, material; plain data.
        caption: shown with it.

    Raises:
        UsageError: wrong shape, or no numbers.

    What no viewer can show is changed, which is said once per key: colors are rounded and clipped, faces of vertices
    that are not there are left out.

    When `log` has returned, the mesh survives the process.
    """

    __slots__ = ("_arrays", "_caption", "_config", "remark")

    @named
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
        points, remark = _vertices(_batched(vertices, "vertices"))
        remarks = [remark]
        self._arrays = {"vertices": points}
        if colors is not None:
            found, remark = _colors(_batched(colors, "colors"), points)
            self._arrays |= {} if found is None else {"colors": found}
            remarks.append(remark)
        if faces is not None:
            found, remark = _faces(_batched(faces, "faces"), points)
            self._arrays |= {} if found is None else {"faces": found}
            remarks.append(remark)
        remarks = [one for one in remarks if one]
        self.remark = f"Object3D: {', '.join(remarks)}" if remarks else ""
        """What is changed so that it can be shown."""
        try:
            self._config = json.dumps(config, sort_keys=True) if config is not None else ""
        except (TypeError, ValueError) as error:
            msg = f"Object3D: config is not plain data: {error}"
            raise UsageError(msg) from error

    def __repr__(self) -> str:
        return f"steno.Object3D({', '.join(f'{name} {array.shape}' for name, array in self._arrays.items())})"

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        meta: dict[str, Any] = {"ext": "npz", "parts": list(self._arrays), **self._caption}
        meta["shape"] = list(self._arrays["vertices"].shape)
        if self._config:
            meta["config"] = self._config
        return capture("mesh", {}, self._arrays, meta, remark=self.remark)


def _batched(data: Any, name: str) -> NDArray[Any]:
    array = as_array(data, f"Object3D {name}", may_be_empty=True)
    if array.ndim == 2 and array.shape[1] == 3:
        array = array[None]
    if array.ndim != 3:
        msg = f"Object3D: {name} of shape {array.shape} are not (n, 3) or (batch, n, 3)"
        raise UsageError(msg)
    return array


def _vertices(points: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """((batch, n, 3), what was changed)."""
    import numpy as np

    if points.shape[2] == 3:
        return points, "some vertices are not finite: no viewer shows them" if extent(points)[2] else ""
    made = np.zeros((*points.shape[:2], 3), points.dtype)
    width = min(3, points.shape[2])
    made[..., :width] = points[..., :width]
    return made, f"vertices of {points.shape[2]} coordinates were cut or filled up with zeros to 3"


def _colors(colors: NDArray[Any], points: NDArray[Any]) -> tuple[NDArray[Any] | None, str]:
    """(uint8 of the vertices' shape or None, what was changed)."""
    import numpy as np

    try:
        colors = np.broadcast_to(colors, points.shape)
    except ValueError:
        return None, f"colors of shape {colors.shape} were left out, for the vertices have {points.shape}"
    if colors.dtype == "u1":
        return colors, ""
    low, high, broken = extent(colors)
    plain = np.clip(np.rint(np.nan_to_num(colors.astype(np.float64))), 0, 255).astype(np.uint8)
    if not broken and low >= 0 and high <= 255 and bool((plain == colors).all()):
        return plain, ""
    return plain, f"colors in [{low:g}, {high:g}] were rounded and clipped to 0..255"


def _faces(faces: NDArray[Any], points: NDArray[Any]) -> tuple[NDArray[Any] | None, str]:
    """(int32 (batch, m, 3) or None, what was changed)."""
    import numpy as np

    if len(faces) != len(points) or faces.shape[2] != 3:
        return None, f"faces of shape {faces.shape} were left out: of {len(points)} meshes, (batch, m, 3) is needed"
    if not faces.size:
        return faces.astype(np.int32), ""
    with np.errstate(invalid="ignore"):
        there = ((faces >= 0) & (faces < points.shape[1]) & (faces == np.floor(faces))).all(axis=2)
    if bool(there.all()):
        return faces.astype(np.int32), ""
    # One array for all meshes: a face that is left out of one is a face without extent there.
    kept = np.where(there[..., None], faces, 0).astype(np.int32)
    return kept[:, there.any(axis=0)], f"{int((~there).sum())} faces of vertices that are not there were left out"


_TYPES = {"vertices": "<f4", "colors": "|u1", "faces": "<i4"}


def encode(raw: Raw, path: Path) -> None:
    """Write the arrays as NPZ."""
    import numpy as np

    arrays: dict[str, Any] = from_raw(raw)
    with open(path, "xb") as file:
        np.savez(file, **arrays)


def from_raw(raw: Raw) -> dict[str, NDArray[Any]]:
    """{"vertices": float32 (batch, n, 3), "colors": uint8, "faces": int32 (batch, m, 3)}, what there is of them."""
    import numpy as np

    with np.errstate(over="ignore"):
        return {name: array.astype(_TYPES[name]) for name, array in raw.arrays().items()}


def from_file(path: Path) -> dict[str, NDArray[Any]]:
    """The same, from its file."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path) as inner:
        bounds.decoded(path, sum(one.file_size for one in inner.infolist()))
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}
