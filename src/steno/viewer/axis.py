"""x as the page counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_numbers(x: NDArray[Any]) -> NDArray[np.float64]:
    """Steps, seconds since 1970, seconds since the run began, or a key's values."""
    return x.astype("int64") / 1e9 if x.dtype.kind in "mM" else x.astype(np.float64)
