"""Gives a batch to a destination until it is taken: again, by halves, and at last without the records that are bad."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from steno.delivery import pieces
from steno.errors import Retry, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from steno.record import Batch

EQUAL_FAILURES: Final = 10
_ALONE_FAILURES: Final = 13
"""For a record that cannot be halved: only later ones can tell whether it is bad, and those must not overtake it."""
_AHEAD: Final = 1 << 16
"""Records of later batches that are looked at, at most, to find one that the destination takes."""
_RISK_SECS: Final = 4.0
"""While nothing was taken of a batch, nothing is given behind its first record before so long."""
_LEAST_SECS: Final = 0.1
_ROUNDS: Final = 6


class Handover:
    """One batch on its way into a destination, until each of its records is taken or given up.

    A destination that fails is given the same batch again, without end. `Retry` says that it is down. Ten failures
    in a row of one kind that do not say so may mean a bad record: then the batch is given by halves, once. A record
    that is refused alone is bad if the destination takes what comes after it, and still refuses that record; it is
    given up. If nothing is taken, it is the destination that is down: everything is kept, in order, for the next try.

    Later batches are looked at where this one has nothing to show that; they are then part of the handover.

    Args:
        batch: at least one record or entry.
        write: gives a piece to the destination, and returns what it raised.
        wait: waits before the next try.
        ahead: the next batch that has anything for this destination; None while there is none.
        ending: whether there will be no better time.

    `write` and `wait` may raise, which ends the handover as it stands.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        write: Callable[[Batch], BaseException | None],
        wait: Callable[[], None],
        ahead: Callable[[], Batch | None],
        ending: Callable[[], bool],
    ) -> None:
        self.taken = 0
        """Records and entries that were taken."""
        self.given_up: list[int] = []
        """Numbers of those that were not, and never will be."""
        self.why: BaseException | None = None
        """What the destination raised last."""
        self._batches = [batch]
        self._left = [batch]
        """What is neither taken nor given up; the next piece is the last."""
        self._write = write
        self._wait = wait
        self._ahead = ahead
        self._ending = ending
        self._rounds = 0
        self._since = time.monotonic()

    def finish(self) -> None:
        """Go on until nothing is left."""
        while self._left:
            if not self._insist():
                self._sift()

    def abandon(self) -> None:
        """Give up all that is left."""
        self._give_up(self._left[::-1])
        self._left = []

    def _insist(self) -> bool:
        """Give the next piece again and again; False when it was refused many times in the same way."""
        piece, kind, equal = self._left[-1], None, 0
        most = EQUAL_FAILURES if pieces.size(piece) > 1 else _ALONE_FAILURES
        while (failure := self._give(piece)) is not None:
            # By kind: the text of an error often has a time or a request's number in it.
            equal = 0 if isinstance(failure, Retry) else equal + 1 if type(failure) is kind else 1
            kind = type(failure)
            if equal >= most:
                return False
            self._wait()
        self._left.pop()
        return True

    def _sift(self) -> None:
        """Give what is left by halves, as far as it makes sense; what is not settled then is left as it was."""
        refused: list[Batch] = []
        while self._left and not refused and self._find(refused):
            refused = self._judge(refused)
        is_decided = self.taken or self.given_up
        if refused and not self._left and self._rounds and is_decided:
            # Nothing comes after them, and they were refused in the round before too: neighbours were taken then.
            self._give_up(refused)
            return
        self._left = [*self._left, *refused[::-1]] if is_decided else self._batches[::-1]
        if self._left:
            self._rounds = min(self._rounds + 1, _ROUNDS)
            self._wait()

    def _find(self, refused: list[Batch]) -> bool:
        """Give pieces until one is taken; `refused` gets the lone records that are not. False: none is taken now.

        What is taken behind refused records overtakes them: they come late, if the destination was down until just
        now. So it is tried rarely, next to the tries in order, but further each time the destination stays as it is: in
        the end a long stretch of bad records is passed.
        """
        began = risked = 0.0
        while self._left:
            if refused:
                now = time.monotonic()
                down_secs, began = now - self._since, began or now
                most = 16 * 4**self._rounds if self.taken else (down_secs / _RISK_SECS) ** 2
                enough = risked + 1 > most and not self._ending()
                if enough or (risked and now - began > max(down_secs / 10, _LEAST_SECS)):
                    return False
                risked += 1
            piece = self._left.pop()
            failure = self._give(piece)
            if failure is None:
                self._rounds = 0
                return True
            if isinstance(failure, Retry):
                self._left.append(piece)
                return False
            if pieces.size(piece) > 1:
                self._left += pieces.halves(piece)[::-1]
                continue
            refused.append(piece)
            if not self._left:
                self._look_ahead()
        return False

    def _look_ahead(self) -> None:
        """Add the next batch to what is left."""
        if sum(map(pieces.size, self._batches[1:])) < _AHEAD:
            batch = self._ahead()
            if batch is not None:
                self._batches.append(batch)
                self._left.append(batch)

    def _judge(self, refused: list[Batch]) -> list[Batch]:
        """The destination works: give again what it has refused, and give it up if it fails; those still open."""
        for at, piece in enumerate(refused):
            for _ in range(EQUAL_FAILURES):
                failure = self._give(piece)
                if failure is None:
                    break
                if isinstance(failure, Retry):
                    return refused[at:]
            else:
                self._give_up([piece])
        return []

    def _give(self, piece: Batch) -> BaseException | None:
        failure = self._write(piece)
        self.why = failure or self.why
        if failure is not None and not isinstance(failure, Skip):
            return failure
        numbers = pieces.numbers(piece)
        if failure is not None:
            # The destination has dealt with the rest.
            chosen = set(failure.records or numbers)
            self.given_up += (named := [number for number in numbers if number in chosen])
            self.taken -= len(named)
        self.taken += len(numbers)
        self._since = time.monotonic()
        return None

    def _give_up(self, refused: Sequence[Batch]) -> None:
        for piece in refused:
            self.given_up += pieces.numbers(piece)
