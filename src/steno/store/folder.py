"""Small objects next to the runs of an object store, in a folder of their own, by names that are no paths."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from steno.errors import StenoError
from steno.objects import url as urls
from steno.objects.store import ObjectStore
from steno.secrecy import error_text

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectFolder:
    """The objects of one folder. Thread-safe.

    Nothing is tried again: who asks waits for a person. What the store raises is a StenoError here, but that there is
    no such object, or is one already.

    Args:
        url: of the store.
        folder: its name; it begins with a dot, so that nothing in it is taken for a run.
    """

    def __init__(self, url: str, folder: str) -> None:
        self._url = urls.check("store", url, writing=False)
        self._folder = folder
        self._lock = threading.Lock()
        self._store: ObjectStore | None = None

    def versions(self) -> dict[str, str]:
        """Another text for each name after each change of it. Raises StenoError."""
        with self._asked("listed") as store:
            seen = store.seen(self._folder)
        names = ((key.removeprefix(f"{self._folder}/"), one.version) for key, one in seen.items())
        return {name: version for name, version in names if "/" not in name}

    def read(self, name: str, most_bytes: int) -> bytes:
        """The content, cut behind so many bytes. Raises FileNotFoundError or StenoError."""
        with self._asked("read") as store:
            return store.read(self._key(name), [(0, most_bytes)])[0]

    def create(self, name: str, data: bytes) -> bool:
        """Write it unless it is there; whether it was written. Raises StenoError.

        Of two that try together one does, where the store knows the condition; elsewhere a look before must do.
        """
        with self._asked("written") as store:
            if self._has(store, name):
                return False
            try:
                return store.create(self._key(name), data)
            except (NotImplementedError, TypeError):
                store.write(self._key(name), data)
                return True

    def replace(self, name: str, data: bytes) -> None:
        """Write it, whether it is there or not. Raises StenoError."""
        with self._asked("written") as store:
            store.write(self._key(name), data)

    def call(self, name: str, to: str, most_bytes: int) -> None:
        """Give it another name; a kill between leaves both. Raises FileNotFoundError, FileExistsError or StenoError."""
        if not self.create(to, self.read(name, most_bytes)):
            raise FileExistsError(to)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Delete it. Raises FileNotFoundError or StenoError."""
        with self._asked("removed") as store:
            if not self._has(store, name):
                raise FileNotFoundError(name)
            store.fs.rm_file(store.place(self._key(name)))

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _has(self, store: ObjectStore, name: str) -> bool:
        try:
            store.look(self._key(name))
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[ObjectStore]:
        try:
            with self._lock:
                self._store = self._store or ObjectStore(self._url)
            yield self._store
        except (FileNotFoundError, StenoError):
            raise
        except Exception as error:  # whatever the store's library raises
            raise StenoError(f"{self._url}/{self._folder} cannot be {what}: {error_text(error)}") from None
