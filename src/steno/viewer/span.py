"""The steps that a zoom shows: widened to the edges of bins, so that no bin has to be cut."""

from __future__ import annotations

import math
from typing import Any


def whole_bins(given: Any, width: int) -> Any:
    """The range from the begin of the bin that holds its first step to the end of the one that holds its last.

    Bins are the narrowest of which `width` hold it. A range with an open end, or none that can be understood, stays.
    """
    try:
        low, high = (math.floor(bound) for bound in given)
    except (TypeError, ValueError, OverflowError):
        return given
    if low > high:
        return given
    shift = 0
    while (high >> shift) - (low >> shift) >= width:
        shift += 1
    return low >> shift << shift, (((high >> shift) + 1) << shift) - 1
