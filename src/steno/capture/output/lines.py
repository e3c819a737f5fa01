"""Makes lines of text as it is written, the way a terminal would leave them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

LONGEST: Final = 16_384
"""Characters kept of a line; what goes beyond is counted."""
_DEEPEST: Final = 50
_MOVES = re.compile(r"(\n|\r|\x1b\[\d*A)")


class OutputLine(NamedTuple):
    """One line, without its newline."""

    text: str
    cut: int = 0
    """Characters that were left out at its end."""


@dataclass(slots=True)
class _Row:
    text: str = ""
    cut: int = 0
    anew: bool = False
    """The next text replaces what stands here."""
    drawn: bool = False
    """The cursor came to its beginning by a "\\r", not from another row."""
    bar: bool = False
    """It was drawn, and no plain text has taken its place."""

    def put(self, text: str) -> None:
        if self.anew:
            self.text, self.cut, self.anew, self.bar = "", 0, False, self.drawn
        room = LONGEST - len(self.text)
        self.text += text[:room]
        self.cut += max(len(text) - room, 0)

    def rewind(self) -> None:
        self.anew = self.drawn = self.bar = True

    def enter(self) -> None:
        self.anew, self.drawn = True, False

    @property
    def is_gone(self) -> bool:
        """A bar that wiped itself off leaves nothing."""
        return self.bar and not self.text.strip()


class Lines:
    r"""A bar that redraws itself with "\r" comes out once, as it was when its line ended.

    Bars below each other, which move up again with "\x1b[A", come out when they have scrolled away, when a plain
    line follows, or at the end. Holds at most some fifty rows of bounded length. Not thread-safe.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._rows = [_Row()]
        self._at = 0
        self._depth = 0
        """How far above the last row the program has moved: so many rows may still change."""

    def feed(self, text: str) -> list[OutputLine]:
        """The lines that this text completes."""
        out: list[OutputLine] = []
        if len(self._rows) == 1 and "\r" not in text and "\x1b[" not in text:
            first, *others = text.split("\n")
            row = self._rows[0]
            if first:
                row.put(first)
            if others and not row.drawn:
                out.append(OutputLine(row.text, row.cut))
                out += [OutputLine(one[:LONGEST], max(len(one) - LONGEST, 0)) for one in others[:-1]]
                row.text, row.cut, row.bar = "", 0, False
                if others[-1]:
                    row.put(others[-1])
                return out
            text = text[len(first) :]
        for piece in _MOVES.split(text):
            if piece == "\n":
                self._down(out)
            elif piece == "\r":
                self._rows[self._at].rewind()
            elif piece.startswith("\x1b[") and piece.endswith("A"):
                self._up(int(piece[2:-1] or 1))
            elif piece:
                self._rows[self._at].put(piece)
        return out

    def rest(self) -> list[OutputLine]:
        """What stands there without a newline, as lines; begin anew."""
        out: list[OutputLine] = []
        rows = self._rows if self._rows[-1].text else self._rows[:-1]
        self._leave(rows, out)
        self._clear()
        return out

    def _down(self, out: list[OutputLine]) -> None:
        rows = self._rows
        if self._at < len(rows) - 1:
            self._at += 1
            rows[self._at].enter()
            return
        if not rows[-1].drawn:
            self._leave(rows, out)
            self._clear()
            return
        rows.append(_Row())
        while len(rows) - 1 > self._depth:
            self._leave([rows.pop(0)], out)
        self._at = len(rows) - 1

    def _up(self, count: int) -> None:
        count = min(count, _DEEPEST)
        missing = min(count - self._at, _DEEPEST - len(self._rows))
        if missing > 0:
            self._rows[:0] = [_Row(bar=True) for _ in range(missing)]
            self._at += missing
        self._at = max(self._at - count, 0)
        self._depth = max(self._depth, len(self._rows) - 1 - self._at)
        self._rows[self._at].enter()

    @staticmethod
    def _leave(rows: list[_Row], out: list[OutputLine]) -> None:
        out += [OutputLine(row.text, row.cut) for row in rows if not row.is_gone]
