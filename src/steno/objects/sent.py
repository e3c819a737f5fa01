"""What has been sent to a store and is known to have arrived: a file of lines, which a kill can only cut short."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steno import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrived:
    """One object as it was when it had arrived, and the local file's time then."""

    size: int
    sha256: str
    mtime_ns: int


class Sent:
    """Thread-safe. A line that is torn or lost costs a question to the store, or sending once more.

    Args:
        path: the file; made at the first `add`.
        place: the URL that it is about: lines about another place do not count.
    """

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._place = place
        self._lock = threading.Lock()
        self._known: dict[str, Arrived] = {}
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            lines = []
        for line in lines:
            try:
                facts = json.loads(line)
                if facts["place"] == place:
                    self._known[facts["key"]] = Arrived(facts["size"], facts["sha256"], facts["mtime_ns"])
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, key: str) -> Arrived | None:
        """The object of this key as it arrived last."""
        return self._known.get(key)

    def keys(self) -> list[str]:
        """All that has arrived."""
        with self._lock:
            return list(self._known)

    def compare(self, listing: Mapping[str, int]) -> None:
        """Forget what the store does not have any more, or has with another size."""
        with self._lock:
            self._known = {key: one for key, one in self._known.items() if listing.get(key) == one.size}

    def add(self, key: str, one: Arrived) -> None:
        """It has arrived. Raises OSError."""
        facts = {"place": self._place, "key": key, "size": one.size, "sha256": one.sha256, "mtime_ns": one.mtime_ns}
        with self._lock:
            self._known[key] = one
            # A line break first: what a kill cut short before must not take this line with it.
            files.append(self._path, b"\n" + json.dumps(facts).encode())

    def drop(self, key: str) -> None:
        """It is not in the store any more."""
        with self._lock:
            self._known.pop(key, None)
