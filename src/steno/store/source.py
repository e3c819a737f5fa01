"""One run as a query reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from steno.store.attempts import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from steno.ledger.snapshot import Part
    from steno.store.engine import Engine
    from steno.store.runtables import About
    from steno.store.unsealed import RunView

_CHOICE: Final = Choice()


@dataclass(frozen=True, slots=True)
class Source:
    """One run in a query: what is readable of it at one moment, and which of its points are meant."""

    run: str
    """The column `run` of the tables: `project/name`."""
    path: str
    hidden: tuple[tuple[int, int], ...]
    """(attempt, step): points of attempts before it, from the step on, are hidden by a rewind."""
    about: Callable[[], About]
    """What is known of it other than its points; asked where a query names the tables of that."""
    listed: Callable[[], Sequence[Part]]
    """Its parts."""
    view: RunView | None = None
    """Of a run that may have more than parts."""
    mark: bytes = b""
    """Of one that has not: tells these parts from all others."""

    def parts(self, engine: Engine, kind: str, keys: Collection[str] | None = None) -> list[Path]:
        """The files to read for the parts of a kind, and of nothing but these keys. Raises PartGone."""
        return engine.files(Path(self.path), (part for part in self.listed() if part.kind == kind), keys)

    @property
    def choice(self) -> Choice:
        """The points that rewinds leave."""
        return Choice(self.hidden) if self.hidden else _CHOICE
