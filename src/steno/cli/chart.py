"""Charts of series in the terminal, drawn by plotext."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steno.visible import on_one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLORS = ("blue", "red", "green", "orange", "magenta", "cyan", "gray", "yellow")
MARKERS = "x+o*#@%="
"""Where there are no colours."""
LOW = 12
"""Rows below which the vertical axis has only its ends marked."""
MAX_LINES = 8
"""More lines than colours cannot be distinguished; the rest are named under the chart."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line: `x` and `value` of the same length, in order of `x`."""

    label: str
    x: NDArray[np.int64]
    value: NDArray[np.float64]
    odd: int = 0
    """How many of the values are no numbers: texts and media, NaN in `value`."""


def draw(title: str, lines: list[ChartLine], *, width: int | None = None, height: int = 16, color: bool = True) -> str:
    """The chart as text, with a last line that says what could not be drawn.

    Values that are not finite are left out and counted. Both axes are drawn from 0 to 1 with labels of
    our own, since plotext fails on magnitudes such as 1e300.
    """
    import numpy as np
    import plotext

    title = on_one_line(title)
    finite = [np.isfinite(line.value) for line in lines]
    odd = sum(line.odd for line in lines)
    hidden = sum(int((~mask).sum()) for mask in finite) - odd
    shown = [
        ChartLine(line.label, line.x[mask], line.value[mask])
        for line, mask in zip(lines, finite, strict=True)
        if mask.any()
    ]
    remarks = [f"{hidden} values that are NaN or infinite are not drawn"] if hidden else []
    remarks += [f"{odd} texts or media values are not drawn"] if odd else []
    if not shown:
        return f"{title}: nothing to draw" + "".join(f" ({remark})" for remark in remarks)
    if len(shown) > MAX_LINES:
        remarks.append(f"{len(shown) - MAX_LINES} more lines are not drawn; choose with --rank or --key")
        shown = shown[:MAX_LINES]
    low_x, high_x = min(int(line.x.min()) for line in shown), max(int(line.x.max()) for line in shown)
    low_y, high_y = min(float(line.value.min()) for line in shown), max(float(line.value.max()) for line in shown)
    # Halved before the difference, so that -1e308 .. 1e308 does not overflow.
    half = high_y / 2 - low_y / 2

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limitsize(False, False)
    columns = width or min(shutil.get_terminal_size((100, 24)).columns, 120)
    plotext.plotsize(columns, height)
    plotext.title(title)
    for index, line in enumerate(shown):
        x = (line.x - low_x) / max(high_x - low_x, 1)
        y = (line.value / 2 - low_y / 2) / half if half > 0 else np.full(len(line.x), 0.5)
        marker = "braille" if color or len(shown) == 1 else MARKERS[index]
        plotext.plot(x.tolist(), y.tolist(), marker=marker, color=COLORS[index])
    plotext.ylim(0, 1)
    plotext.xlim(0, 1)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    if half > 0:
        # In a low chart ticks fall on one row, and the ends must be those that are read.
        marked = ticks if height >= LOW else [0.0, 1.0]
        # Weighted ends rather than low + difference, which may overflow.
        plotext.yticks(marked, [f"{low_y * (1 - tick) + high_y * tick:.4g}" for tick in marked])
    else:
        plotext.yticks([0.5], [f"{low_y:.4g}"])
    steps = sorted({round(low_x + (high_x - low_x) * tick) for tick in ticks})
    plotext.xticks([(step - low_x) / max(high_x - low_x, 1) for step in steps], [str(step) for step in steps])
    text = str(plotext.build()).rstrip("\n")
    if not color:
        text = str(plotext.uncolorize(text))
    return "\n".join([text, *_legend(shown, columns, color=color), *(f"  {remark}" for remark in remarks)])


def _legend(lines: list[ChartLine], width: int, *, color: bool) -> list[str]:
    """Which line is which, under the chart, where it hides nothing."""
    import plotext

    if len(lines) < 2:
        return []
    rows: list[list[str]] = [[]]
    used = 0
    for index, line in enumerate(lines):
        label = on_one_line(line.label)
        if used and used + len(label) + 5 > width:
            rows.append([])
            used = 0
        mark = str(plotext.colorize("━━", COLORS[index])) if color else MARKERS[index]
        rows[-1].append(f"{mark} {label}")
        used += len(label) + 5
    return [f"  {'  '.join(row)}" for row in rows]
