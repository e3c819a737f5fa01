"""A view as the page's address has it, read: which runs, and how their charts are asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable

TOP: Final = 10
_OF_RUNS: Final = frozenset({
    "where", "runs", "show", "hide", "baseline", "compare", "open", "archived", "sort", "media", "hideLabel",
    "onlyLabel", "least", "plot", "axes", "axesTurned", "brush", "dotX", "dotY", "dotColour", "dotLogX", "dotLogY",
    "better",
})  # fmt: skip
"""What chooses runs, and what is said of parts of the page that a file has not: values of runs may be in it."""
_COLUMNS: Final = ("started", "duration")
_ALL: Final = 10_000


@dataclass(frozen=True, slots=True)
class Address:
    """A view. What it does not say is as the page has it by default; what it says wrongly is as if it were not said."""

    given: dict[str, list[str]] = field(default_factory=dict)

    def _one(self, name: str, default: str = "") -> str:
        return (self.given.get(name) or [default])[0]

    @property
    def columns(self) -> list[str]:
        """Those of the table, and the one that gives the colours."""
        shown = [one for one in self.given.get("column", _COLUMNS) if one]
        by = self._one("colourBy")
        return [*shown, by] if by and by not in shown else shown

    def listed(self) -> dict[str, Any]:
        """The question to `api/runs`."""
        asked = {"columns": self.columns, "archived": self._one("archived") == "1"}
        return {**asked, **{name: self._one(name) for name in ("where", "sort") if self._one(name)}}

    @property
    def most(self) -> int:
        """How many runs of the table are drawn, without those that are added."""
        runs = self._one("runs", str(TOP))
        if runs in {"all", "none"}:
            return _ALL if runs == "all" else 0
        return int(runs) if re.fullmatch(r"\d{1,4}", runs) else TOP

    @property
    def plus(self) -> list[str]:
        """Runs that are drawn next to them."""
        return self.given.get("show", [])

    @property
    def minus(self) -> frozenset[str]:
        """Runs that are not."""
        return frozenset(self.given.get("hide", ()))

    @property
    def baseline(self) -> str:
        """The run that others are compared to, or ""."""
        return self._one("baseline")

    def keeps(self) -> Callable[[str], bool]:
        """Tells whether a key's chart is shown: a regular expression where it is one, else a text."""
        text = self._one("filter")
        try:
            found = re.compile(text, re.IGNORECASE)
        except re.error:
            return lambda key: text.lower() in key.lower()
        return lambda key: found.search(key) is not None

    @property
    def zoom(self) -> list[float] | None:
        """The range of x."""
        try:
            low, high = map(float, self._one("zoom").split("~"))
        except ValueError:
            return None
        return [low, high] if low < high and math.isfinite(high - low) else None

    def card(self) -> dict[str, Any]:
        """How each chart is asked for, without key, width and range."""
        x, ranks, group = self._one("x", "step"), self._one("ranks"), self.given.get("group")
        kind, _, width = self._one("smooth").partition("~")
        try:
            wide = float(width)
        except ValueError:
            wide = 0.0
        smooth = {"kind": kind, "width": wide / math.log(2) if kind == "ema" else wide}
        return {
            "x": {"key": x[4:]} if x.startswith("key:") else x if x in {"time", "relative"} else "step",
            "ranks": ranks if ranks in {"all", "band", "odd"} else None,
            "group": None if group is None else [one for one in group if one],
            "smooth": smooth if kind in {"ema", "gaussian", "mean"} and wide > 0 and math.isfinite(wide) else None,
        }

    def fixed(self, baseline: str, hidden: list[str]) -> str:
        """The view over runs that were chosen already: without the query, with other names of runs."""
        kept = {name: values for name, values in self.given.items() if name not in _OF_RUNS}
        said: dict[str, Any] = {**kept, "runs": "all"}
        if baseline:
            said["baseline"] = baseline
        if hidden:
            said["hide"] = hidden
        return urlencode(said, doseq=True)


def parse(text: str) -> Address:
    """The view that stands behind the # of an address."""
    return Address(parse_qs(text.removeprefix("#"), keep_blank_values=True, max_num_fields=50_000))
