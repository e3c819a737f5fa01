"""What names of artifacts mean: the rules by which a later one replaces, refuses or follows an earlier one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Meaning:
    """What a name was given: content, or another name."""

    id: str
    name: str
    target: str | None = None
    """The name that an alias stands for; None: content of its own."""
    step: int | None = None
    attempt: int = 1
    before: Meaning | None = field(default=None, repr=False)
    """What the name meant before, as long as it may come to nothing."""


class Names:
    """The current meaning of each name of a run. Guarded by its owner.

    What an attempt gave a step that a later attempt rewinds behind means nothing any more.
    """

    def __init__(self, rewinds: Iterable[tuple[int, int]] = ()) -> None:
        self.rewinds = list(rewinds)
        """(attempt, the step it begins at)"""
        self._current: dict[str, Meaning] = {}
        self._open: dict[str, Meaning] = {}

    def __len__(self) -> int:
        return len(self._current)

    def enter(self, meaning: Meaning) -> None:
        """Give a name its new meaning; until `confirm`, `drop` can take it back."""
        meaning.before = self._current.get(meaning.name)
        self._current[meaning.name] = self._open[meaning.id] = meaning

    def has(self, id: str) -> bool:
        """Whether this one may still come to nothing."""
        return id in self._open

    def confirm(self, id: str) -> None:
        """It is complete: what was before is history."""
        meaning = self._open.pop(id, None)
        if meaning is not None:
            meaning.before = None

    def drop(self, id: str) -> None:
        """It came to nothing: the name means what it did before."""
        meaning = self._open.pop(id, None)
        if meaning is None:
            return
        current = self._current.get(meaning.name)
        if current is meaning:
            if meaning.before is None:
                del self._current[meaning.name]
            else:
                self._current[meaning.name] = meaning.before
        while current is not None:
            if current.before is meaning:
                current.before = meaning.before
            current = current.before

    def get(self, name: str) -> Meaning | None:
        """The meaning; None: the name has none."""
        found = self._current.get(name)
        while found is not None and self.is_hidden(found.step, found.attempt):
            found = found.before
        return found

    def is_hidden(self, step: int | None, attempt: int) -> bool:
        """Whether a later attempt rewinds behind that step."""
        return step is not None and any(later > attempt and step >= start for later, start in self.rewinds)

    def follow(self, name: str) -> Meaning | None:
        """The content at the end of a chain of aliases; None: a name of the chain has no meaning, or it is a cycle."""
        seen = set()
        found = self.get(name)
        while found is not None and found.target is not None:
            if found.name in seen:
                return None
            seen.add(found.name)
            found = self.get(found.target)
        return found

    def leads_to(self, name: str, alias: str) -> bool:
        """Whether following `name` comes by `alias`: to link that to this would close a cycle."""
        seen: set[str] = set()
        at: str | None = name
        while at is not None and at not in seen:
            if at == alias:
                return True
            seen.add(at)
            found = self.get(at)
            at = None if found is None else found.target
        return False
