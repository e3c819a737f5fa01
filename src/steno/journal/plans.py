"""How the hot path finds a plan: by scope, by number of keys, and by a key that tells where that is not enough."""

from __future__ import annotations

from typing import Any, Final


class Scope:
    """The options that some key sets share; hashed by identity, so that the hot path finds its keys quickly."""

    __slots__ = ("options",)

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


Plan = tuple[Any, Any, Any]
"""(getter of the values, key-set number, keys), or a fork: (None, position, plans by the key there)."""
_BY_ALL_KEYS: Final[Plan] = (None, 0, None)
"""In the place of a plan where it takes too many forks to tell key sets apart: all keys are looked up."""
_FORKS: Final = 3


def choose(plans: dict[Any, Plan], by_keys: dict[Any, Any], keys: tuple[str, ...], replaced: Plan | None) -> None:
    """Let the hot path find the plan of `keys`, which `by_keys` has.

    Several key sets may have the same number of keys, say those of train and val, and may begin alike, say with an
    epoch: the key at a position where two of them differ tells which it is.

    Args:
        plans: by number of keys, what the hot path looks in; changed here.
        by_keys: all plans of this segment by their keys.
        keys: two or more.
        replaced: the plan that this one takes the place of, if any.

    """
    plan = by_keys[keys]
    place: str | int = len(keys)
    branches: dict[Any, Plan] = plans
    for forks in range(_FORKS + 1):
        known = branches.get(place)
        if known is None or known is replaced or known is plan:
            branches[place] = plan
            return
        getter, at, rest = known
        if getter is not None and forks < _FORKS:
            at = next(at for at, key in enumerate(keys) if key != rest[at])
            branches[place] = (None, at, {rest[at]: known, keys[at]: plan})
            return
        if getter is not None or rest is None:
            branches[place] = _BY_ALL_KEYS
            return
        branches, place = rest, keys[at]
