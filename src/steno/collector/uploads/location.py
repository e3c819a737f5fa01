"""One run's place in one store: claimed by the run's identity, with account of what has arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steno import files, inside
from steno.objects.sending import DifferentError, Sending
from steno.objects.sent import Arrived, Sent
from steno.objects.store import ObjectStore, sha256_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.collector.uploads.files import Belonging

RUN = "run.json"


class Shelf:
    """Where one run lies in a store, `<url>/<project>/<name>`. `settle` first, then threads may share it.

    Args:
        role: "store" or "artifacts".
        url: of the store.
        node_dir: this node's directory of the run, for the account.
        gate: bounds the transfers.
    """

    def __init__(self, role: str, url: str, node_dir: Path, gate: threading.Semaphore) -> None:
        self.role = role
        self.url = url
        self._node_dir = node_dir
        self._gate = gate
        self._store: ObjectStore | None = None
        self._listing: dict[str, int] = {}
        self.sent = Sent(node_dir / f"sent-{role}.jsonl", "")

    @property
    def store(self) -> ObjectStore:
        """The place; after `settle`."""
        assert self._store is not None
        return self._store

    @property
    def settled(self) -> bool:
        """Whether the place is known."""
        return self._store is not None

    def settle(self, about: Mapping[str, Any], data: bytes) -> None:
        """Find the run's place, or claim it by its run.json (`about`, `data`): another run of this name keeps its own.

        Raises whatever the store raises, or CorruptError for a run whose name would lead elsewhere.
        """
        if self._store is not None:
            return
        id = str(about["id"])
        noted = self._node_dir / f"place-{self.role}.json"
        plain = inside.relative(f"{about['project']}/{about['name']}")
        possible = [plain, inside.relative(f"{plain}-{id[-8:].lower()}")]
        path = self._noted(noted, possible)
        for candidate in [path] if path else possible:
            store = ObjectStore(f"{self.url}/{candidate}", self._gate)
            try:
                there = str(json.loads(store.read(RUN)).get("id"))
            except FileNotFoundError:
                store.write(RUN, data)
                there = str(json.loads(store.read(RUN)).get("id"))  # two may have come at once
            except (ValueError, AttributeError):
                there = ""  # something else lies there
            if there == id:
                files.write_json(noted, {"url": self.url, "path": candidate}, sync=True)
                self._take(store)
                return
        raise DifferentError(f"{self.url}/{path or plain} holds another run: give this one's store another prefix")

    def _noted(self, path: Path, possible: list[str]) -> str:
        found = files.read_json(path)
        return str(found["path"]) if found.get("url") == self.url and found.get("path") in possible else ""

    def _take(self, store: ObjectStore) -> None:
        store.sweep()
        self._listing = store.listing()
        self.sent = Sent(self._node_dir / f"sent-{self.role}.jsonl", store.url)
        self.sent.compare(self._listing)
        self._store = store

    def lacks(self, one: Belonging) -> bool:
        """Whether it has not arrived as it is now."""
        known = self.sent.get(one.key)
        return known is None or (known.size, known.mtime_ns) != (one.size, one.mtime_ns)

    def send(self, one: Belonging, moved: Callable[[int], None]) -> None:
        """Send a file unless its content is there already. Raises whatever the store raises."""
        sha256 = sha256_of(one.path)
        known = self.sent.get(one.key)
        same = known is not None and (known.size, known.sha256) == (one.size, sha256)
        if not same and self._listing.get(one.key) == one.size:
            same = self.store.holds(one.key, one.size, sha256)
        if not same:
            self.store.send(Sending(one.key, one.path, one.size, sha256, moved))
        self._listing[one.key] = one.size
        self.sent.add(one.key, Arrived(one.size, sha256, one.mtime_ns))

    def holds(self, key: str, size: int) -> bool:
        """Whether the store is known to have an object of this key and size."""
        return self._listing.get(key) == size

    def has(self, key: str) -> bool:
        """Whether the store is known to have an object of this key."""
        return key in self._listing

    def look_again(self) -> None:
        """Ask the store anew what it has: other nodes send too."""
        self._listing = self.store.listing()

    def remove(self, key: str) -> None:
        """Take away what has been replaced."""
        self.store.remove(key)
        self._listing.pop(key, None)
        self.sent.drop(key)

    def keys(self) -> list[str]:
        """What the store has."""
        return list(self._listing)
