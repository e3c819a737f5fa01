"""What is known of one run in a list."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from steno.store import where as where_

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PARTS: Final = ("last", "min", "max", "count")
FIELDS: Final = (
    "state",
    "name",
    "project",
    "id",
    "group",
    "tags",
    "notes",
    "archived",
    "started",
    "duration",
    "records",
    "points",
)


@dataclass(frozen=True)
class RunSummary:
    """A run in a list. Times in ns since 1970, UTC. A plain value, but that `metrics` reads the run when asked."""

    path: Path
    project: str
    name: str
    id: str
    state: str
    """running, finished, failed, crashed; empty before anything was posted."""
    started: int | None
    """None before anything was posted."""
    records: int
    points: int
    attempts: int
    group: str | None = None
    tags: tuple[str, ...] = ()
    problem: str = ""
    """What is wrong with its run.json or edits.jsonl; what is good of them is used."""
    ended: int | None = None
    """When the last record came; None while it is running."""
    notes: str = ""
    archived: bool = False
    colour: str = ""
    """As #rrggbb; empty: the viewer chooses."""
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What the user set."""
    url: str = ""
    """Where it is, if that is no directory of this machine: in an object store, or another engine's."""

    @property
    def duration(self) -> float | None:
        """Seconds from the first start to the last record; None while it is running."""
        return None if self.started is None or self.ended is None else (self.ended - self.started) / 1e9

    @cached_property
    def metrics(self) -> Mapping[str, Mapping[str, Any]]:
        """By key what `RunReader.summary` says. Read when first asked for, from the run's card, where it has ended.

        Raises:
            RunNotFoundError: the run is gone.
        """
        from steno.store.card_metrics import metrics

        return metrics(self.path)

    def value(self, name: str) -> Any:
        """What a name of the `where` language means here; `where.MISSING` if there is nothing of the name.

        Args:
            name: as the language spells it, such as `config.lr`.

        Returns:
            A number, a text or a truth value.
        """
        if name == "started":
            return where_.MISSING if self.started is None else dt.datetime.fromtimestamp(self.started / 1e9, dt.UTC)
        if name in FIELDS:
            return getattr(self, name)
        head, _, rest = name.partition(".")
        if head in {"config", "summary"} and rest:
            return _in(getattr(self, head), rest)
        key, _, part = name.rpartition(".")
        if part in _PARTS and key in self.metrics:
            return self.metrics[key][part]
        return self.metrics[name]["last"] if name in self.metrics else where_.MISSING


def _in(values: Any, name: str) -> Any:
    """A value by the path to it, `opt.lr` or `opt/lr`; a key that has such a character itself goes before."""
    if not hasattr(values, "keys"):
        return where_.MISSING
    if name in values:
        return values[name]
    for at, char in enumerate(name):
        if char in "./" and name[:at] in values:
            found = _in(values[name[:at]], name[at + 1 :])
            if found is not where_.MISSING:
                return found
    return where_.MISSING
