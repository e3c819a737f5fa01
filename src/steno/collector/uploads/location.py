"""One run's place in one store: claimed by the run's identity, with account of what has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steno import files
from steno.artifacts import content
from steno.collector.uploads import generations
from steno.objects.sending import DifferentError, Sending
from steno.objects.sent import Arrived, Sent
from steno.objects.store import ObjectStore, sha256_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from steno.collector.uploads.files import Belonging

RUN = generations.RUN


def note_of(node_dir: Path, role: str) -> Path:
    """Where a node keeps where the run is in its store: {url, path, id, born}."""
    return node_dir / f"place-{role}.json"


class Location:
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
        self._root: ObjectStore | None = None
        self.place: generations.StorePlacement | None = None
        self.about = b""
        """The run.json that is there."""
        self._listing: dict[str, int] = {}
        self._own: dict[str, int] = {}
        """What this process has sent: a list may be late."""
        self.sent = Sent(node_dir / f"sent-{role}.jsonl", "")

    @property
    def store(self) -> ObjectStore:
        """The place; after `settle`."""
        assert self._store is not None
        return self._store

    @property
    def root(self) -> ObjectStore:
        """The store itself."""
        if self._root is None:
            self._root = ObjectStore(self.url, self._gate)
        return self._root

    @property
    def is_claimed(self) -> bool:
        """Whether the place is known."""
        return self._store is not None

    def claim(self, about: Mapping[str, Any]) -> None:
        """Find the run's place, or claim it by its run.json (`about`): another run of this name keeps its own.

        Raises whatever the store raises, or CorruptError for a run whose name would lead elsewhere.
        """
        if self._store is not None:
            return
        noted = note_of(self._node_dir, self.role)
        found = files.read_json(noted) or files.read_json(self._node_dir.parents[1] / "stores" / f"{self.role}.json")
        may = generations.candidates(about)
        path = str(found["path"]) if found.get("url") == self.url and may(str(found.get("path") or "")) else ""
        place = generations.StorePlacement(path, str(found.get("id")), bool(found.get("born"))) if path else None
        if place is None:
            place = generations.find(self.root, self._at, about)
            known = {"url": self.url, "path": place.path, "id": place.id, "born": place.born}
            files.write_json(noted, known, sync=True)
        store = self._at(place.path)
        try:
            self.about = store.read(RUN)
        except FileNotFoundError:  # somebody has emptied the store
            self.about = generations.described(about, place)
            store.create(RUN, self.about)
        if generations.parsed(self.about).get("id") != place.id:
            raise DifferentError(f"{store.url} holds another run: give this one's store another prefix")
        self.place = place
        self._take(store)

    def _at(self, path: str) -> ObjectStore:
        return ObjectStore(f"{self.url}/{path}", self._gate)

    def _take(self, store: ObjectStore) -> None:
        store.sweep()
        self._listing = store.listing()
        self.sent = Sent(self._node_dir / f"sent-{self.role}.jsonl", store.url)
        self.sent.compare(self._listing)
        self._store = store

    def tell(self, about: Mapping[str, Any]) -> None:
        """Have the run.json there say what the one here says, where it is for this node to do."""
        assert self.place is not None
        data = generations.described(about, self.place)
        if data != self.about and (self.place.born or not about.get("family")):
            self.store.write(RUN, data)
            self.about = data

    def lacks(self, one: Belonging) -> bool:
        """Whether it has not arrived as it is now."""
        known = self.sent.get(one.key)
        return known is None or (known.size, known.mtime_ns) != (one.size, one.mtime_ns)

    def send(self, one: Belonging, moved: Callable[[int], None]) -> None:
        """Send a file unless its content is there already. Raises whatever the store raises."""
        claimed = content.digest_in(one.key)
        try:
            self._send(one, claimed or sha256_of(one.path), moved)
        except DifferentError:
            # What lies under an artifact's name may be damaged: its readers report it, and it holds up nothing.
            actual = sha256_of(one.path)
            if claimed in {None, actual}:
                raise
            self._send(one, actual, moved)

    def _send(self, one: Belonging, sha256: str, moved: Callable[[int], None]) -> None:
        known = self.sent.get(one.key)
        same = known is not None and (known.size, known.sha256) == (one.size, sha256)
        if not same and self._listing.get(one.key) == one.size:
            same = self.store.holds(one.key, one.size, sha256)
        if not same:
            self.store.send(Sending(one.key, one.path, one.size, sha256, moved))
        self._listing[one.key] = self._own[one.key] = one.size
        self.sent.add(one.key, Arrived(one.size, sha256, one.mtime_ns))

    def holds(self, key: str, size: int) -> bool:
        """Whether the store is known to have an object of this key and size."""
        return self._listing.get(key) == size

    def has(self, key: str) -> bool:
        """Whether the store is known to have an object of this key."""
        return key in self._listing

    def look_again(self) -> None:
        """Ask the store anew what it has: other nodes send too."""
        self._listing = self.store.listing() | self._own

    def remove(self, key: str) -> None:
        """Take away what has been replaced."""
        self.store.remove(key)
        self._listing.pop(key, None)
        self._own.pop(key, None)
        self.sent.drop(key)

    def size(self, key: str) -> int:
        """The bytes of an object that the store is known to have."""
        return self._listing[key]

    def keys(self) -> list[str]:
        """What the store has."""
        return list(self._listing)
