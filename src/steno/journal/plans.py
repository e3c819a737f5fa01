"""How the hot path finds a plan: by scope, by number of keys, and by the first key where that is not enough."""

from __future__ import annotations

from typing import Any


class Scope:
    """The options that some key sets share; hashed by identity, so that the hot path finds its keys quickly."""

    __slots__ = ("options",)

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


def choose(plans: dict[int, Any], by_keys: dict[Any, Any], keys: tuple[str, ...], replaced: Any) -> None:
    """Let the hot path find the plan of `keys`, which `by_keys` has.

    A plan is (getter of the values, key-set number). `plans` has one for each number of keys, or
    (None, plans by first key) where several key sets have that number of keys.

    Args:
        plans: what the hot path looks in; changed here.
        by_keys: all plans of this segment by their keys.
        keys: two or more.
        replaced: the plan that this one takes the place of, if any.

    """
    plan, known = by_keys[keys], plans.get(len(keys))
    if known is None or known is replaced:
        plans[len(keys)] = plan
    elif known[0] is None:
        known[1][keys[0]] = plan
    elif known is not plan:
        # A copy, since another thread may announce a key set meanwhile.
        other = next((names for names, given in [*by_keys.items()] if given is known), keys)
        plans[len(keys)] = (None, {other[0]: known, keys[0]: plan})
