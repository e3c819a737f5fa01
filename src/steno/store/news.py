"""For how long a node of a run in a store has given no news, by the reader's own clock over an unchanged object.

No two machines' clocks are compared: an object that does not change is silent from when it was first seen so. It is
kept over processes, and where the store's date is hours back, whatever the clocks are, it counts too.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from steno import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.objects.store import Seen

SKEW_SECS: Final = 3600.0
"""Two clocks are taken to differ by no more."""


class LastNews:
    """What a reader has seen of objects, and when. Not thread-safe.

    Args:
        path: where it is kept: {key: [version, seconds since 1970]}.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, list[Any]] = files.read_json(path)

    def ages(self, objects: Mapping[str, Seen]) -> dict[str, float]:
        """By key, for how many seconds at least each has not changed."""
        now, found, seen = time.time(), {}, {}
        for key, one in objects.items():
            version, when = self._known(key)
            first = when if version == one.version and when <= now else now
            seen[key] = [one.version, first]
            found[key] = max(now - first, 0.0 if one.modified is None else now - one.modified - SKEW_SECS)
        if seen != self._seen:
            self._seen = seen
            with contextlib.suppress(OSError):
                files.write_json(self._path, seen)
        return found

    def _known(self, key: str) -> tuple[str, float]:
        match self._seen.get(key):
            case [str(version), int(when) | float(when)]:
                return version, float(when)
        return "", 0.0
