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
    low = min(one.low for one in some) // question.unit
    high = max(one.high for one in some) // question.unit
    shift = 0
    while (high >> shift) - (low >> shift) >= question.width and shift < _WIDEST:
        shift += 1
    return shift
