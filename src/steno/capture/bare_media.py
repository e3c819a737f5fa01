"""Figures, pictures and frames of other libraries that are logged as they are: the media value each stands for."""

from __future__ import annotations

import numbers
import sys
from types import ModuleType
from typing import Any


def stand_in(value: Any) -> Any:
    """A `steno.Figure`, `Image` or `Table` of a matplotlib or plotly figure, a PIL image, a frame; None for others.

    Their libraries are not imported: whoever has such a value has done so. A matplotlib figure is drawn here, and a
    frame copied.

    Raises:
        UsageError: it cannot be kept as one.
    """
    kind = type(value)
    if isinstance(value, ModuleType):
        return _figure(value.gcf()) if value.__name__ == "matplotlib.pyplot" else None
    libraries = {base.__module__.partition(".")[0] for base in kind.__mro__}
    if "matplotlib" in libraries or "plotly" in libraries or (hasattr(kind, "savefig") and hasattr(value, "figure")):
        return _figure(value)
    if "PIL" in libraries:
        from steno.media.image import Image

        return Image(value)
    if libraries & {"pandas", "polars"}:
        return _of_frame(value)
    return _table(value) if "pyarrow" in libraries and kind.__name__ == "Table" else None


def _figure(value: Any) -> Any:
    from steno.media.figure import Figure

    return Figure(value)


def _table(value: Any) -> Any:
    from steno.media.table import Table

    return Table(value)


def _of_frame(value: Any) -> Any:
    """A frame as a table; a series too, if it is not of numbers."""
    if hasattr(value, "columns") and hasattr(value, "shape"):
        return _table(value)
    return _table(value.to_frame()) if hasattr(value, "to_frame") and numbers_of(value) is None else None


def numbers_of(series: Any) -> Any:
    """The numbers of a pandas or polars series as an array, NaN for what is missing; None if it is not of numbers."""
    import numpy as np

    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and isinstance(series, pandas.Series | pandas.Index):
            if series.dtype == object and all(isinstance(one, numbers.Number) for one in series):
                return series.to_numpy(np.float64)
            if not pandas.api.types.is_numeric_dtype(series.dtype):
                return None
            return series.to_numpy(np.float64, na_value=np.nan) if series.hasnans else series.to_numpy()
        found = series.to_numpy()
    except (TypeError, ValueError, AttributeError):
        return None
    return found if getattr(found, "dtype", None) is not None and found.dtype.kind in "biuf" else None
