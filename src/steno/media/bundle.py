"""Arrays kept together in an NPZ: embeddings, graphs, and tensors as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno.media.object3d import from_file
from steno.media.raw import Captured, Raw, capture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Bundle", "encode", "from_file", "from_raw"]


class Bundle:
    """Arrays by name, copied when they are logged; not public: writers make it.

    Args:
        kind: "embedding", "graph" or "tensor".
        arrays: by name, any dtype and shape.
        meta: what readers get without opening the file; plain data.
        remark: what is changed so that it can be recorded.
    """

    __slots__ = ("_arrays", "_kind", "_meta", "remark")

    def __init__(
        self, kind: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], remark: str = ""
    ) -> None:
        self._kind = kind
        self._arrays = arrays
        self._meta = meta
        self.remark = remark

    def __steno__(self) -> Captured:
        """What `log` takes of it."""
        return capture(self._kind, {}, self._arrays, {"ext": "npz", **self._meta}, remark=self.remark)


def encode(raw: Raw, path: Path) -> None:
    """Write the arrays as NPZ."""
    import numpy as np

    arrays: dict[str, Any] = raw.arrays()
    with open(path, "xb") as file:
        np.savez(file, **arrays)


def from_raw(raw: Raw) -> dict[str, NDArray[Any]]:
    """The arrays by name."""
    return raw.arrays()
