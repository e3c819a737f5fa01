"""How wide the bins of an answer are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steno.store.bins.engine import Member
    from steno.store.bins.question import Question

_WIDEST: Final = 62


def narrowest(members: Sequence[Member], question: Question) -> int:
    """The exponent of the smallest width, in the question's unit, that gives all series together enough bins."""
    some = [one for one in members if one.total]
    if not some:
        return 0
    low, high = min(one.low for one in some), max(one.high for one in some)
    return exponent(low // question.unit, high // question.unit, question.width)


def exponent(low: int, high: int, count: int) -> int:
    """The exponent of the smallest width of which so many bins hold all from `low` to `high`."""
    shift = 0
    while (high >> shift) - (low >> shift) >= count and shift < _WIDEST:
        shift += 1
    return shift
