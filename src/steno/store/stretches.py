"""An object that is read by ranges: each stretch that was fetched of it is kept as a file of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from steno import files
from steno.errors import CorruptError
from steno.inside import read
from steno.objects.store import aside
from steno.store.image import DiffersError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from steno.objects.store import ObjectStore

Range = tuple[int, int]


class Stretches:
    """The bytes of an object that never changes, as `image.Bytes` has them. Processes may share the folder.

    Nothing is compared here: whoever reads a stretch has its checksum.

    Args:
        store: where the object is.
        key: of the object.
        size: of the object, in bytes.
        folder: for what is fetched; it may be removed at any time.
    """

    def __init__(self, store: ObjectStore, key: str, size: int, folder: Path) -> None:
        self.size = size
        self._store, self._key, self._folder = store, key, folder

    def read(self, ranges: Sequence[Range], into: memoryview) -> None:
        """See `image.Bytes`; what is not here yet comes in as few requests as its places allow."""
        kept = self._kept()
        missing = [place for place in ranges if place[0] < place[1] and not self._take(place, kept, into)]
        if not missing:
            return
        try:
            found = self._store.read(self._key, missing)
        except FileNotFoundError as error:
            raise DiffersError from error  # whoever fetches all of it then is told that it is gone
        for (begin, end), data in zip(missing, found, strict=True):
            if len(data) != end - begin:
                raise DiffersError
            into[begin:end] = data
            with contextlib.suppress(OSError), aside(self._folder / f"{begin}-{end}") as hidden:
                files.write_new(hidden, data)

    def close(self) -> None:
        """See `image.Bytes`."""

    def _kept(self) -> list[Range]:
        found = []
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                begin, _, end = path.name.partition("-")
                if begin.isdecimal() and end.isdecimal():
                    found.append((int(begin), int(end)))
        return found

    def _take(self, place: Range, kept: Sequence[Range], into: memoryview) -> bool:
        """Put a stretch where it belongs, if one that holds it is here."""
        begin, end = place
        for low, high in kept:
            if low <= begin and end <= high:
                with contextlib.suppress(OSError, CorruptError):
                    data = read(self._folder / f"{low}-{high}")
                    if len(data) == high - low:
                        into[begin:end] = memoryview(data)[begin - low : end - low]
                        return True
        return False
