"""Parts into an Iceberg table and out of it, each exactly once, however many do it at the same time.

    load the table, say what it lacks and what it has too much, commit on just that version; refused: again

A commit that was refused, and one whose answer was lost, are the same here: what the table holds is asked anew, and
nothing is entered that it has.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from steno.errors import StenoError
from steno.secrecy import error_text
from steno.store import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TOGETHER: Final = 1000
"""Parts in one commit."""
_READERS: Final = 8
PATIENCE_SECS: Final = 300.0
"""So long a table that others change all the time, or that does not answer, is tried."""

T = TypeVar("T")


class PartTable:
    """A table of parts, as one publisher sees it.

    Args:
        load: gives the table as it is now.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._files: dict[str, Any] = {}
        """By path, parts that are not in the table yet, as manifests have them."""
        self._manifests: dict[str, dict[str, Any]] = {}
        """By path, what they hold: a manifest never changes."""
        self.seen: int | None = None
        """The version of the table that is known: its snapshot's id."""

    def held(self) -> dict[str, Any]:
        """By path, the data files of the table as it is now."""
        table = self._load()
        self.seen = _version(table)
        return self._held(table)

    def _held(self, table: Any) -> dict[str, Any]:
        snapshot = table.current_snapshot()
        found: dict[str, Any] = {}
        seen = {}
        for manifest in snapshot.manifests(table.io) if snapshot else ():
            files = self._manifests.get(manifest.manifest_path)
            if files is None:
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                files = {entry.data_file.file_path: entry.data_file for entry in entries}
            seen[manifest.manifest_path] = files
            found |= files
        self._manifests = seen
        return found

    def enter(self, plan: Callable[[dict[str, Any], bool], tuple[Iterable[str], Iterable[str]]]) -> tuple[int, int]:
        """Have in the table what the plan says; how many files this publisher entered, and how many it took out.

        Args:
            plan: given what the table holds, and whether that is another version than the last one, says which
                files it shall have in addition, and which no longer.

        Raises:
            StenoError: the table could not be changed for minutes.
        """
        entered = removed = 0
        while True:
            new, gone, is_all = changed(lambda: self._once(plan))
            entered, removed = entered + new, removed + gone
            if is_all:
                return entered, removed

    def _once(self, plan: Callable[[dict[str, Any], bool], tuple[Iterable[str], Iterable[str]]]) -> Any:
        table = self._load()
        is_other, self.seen = _version(table) != self.seen, _version(table)
        held = self._held(table)
        wanted, unwanted = plan(held, is_other)
        lacking = [path for path in dict.fromkeys(wanted) if path not in held]
        new, gone = lacking[:_TOGETHER], [held[path] for path in dict.fromkeys(unwanted) if path in held]
        if new or gone:
            self._read(table, new)
            with table.transaction() as transaction:
                update = transaction.update_snapshot()
                with update.overwrite() if gone else update.merge_append() as files:
                    for path in new:
                        files.append_data_file(self._files[path])
                    for file in gone:
                        files.delete_data_file(file)
            self.seen = _version(table)
            for path in new:
                del self._files[path]
        return len(new), len(gone), len(new) == len(lacking)

    def _read(self, table: Any, paths: Iterable[str]) -> None:
        """Read the footers of parts once, as pyiceberg's `add_files` does it."""
        from pyiceberg.io.pyarrow import parquet_file_to_data_file

        def of(path: str) -> Any:
            return parquet_file_to_data_file(table.io, table.metadata, path)

        missing = [path for path in paths if path not in self._files]
        self._files.update(zip(missing, together.each(of, missing, _READERS), strict=True))


def _version(table: Any) -> int | None:
    snapshot = table.current_snapshot()
    return None if snapshot is None else int(snapshot.snapshot_id)


def changed(change: Callable[[], T]) -> T:
    """What `change` returns, which loads a table and commits to it; called anew as long as that does not succeed.

    Raises:
        StenoError: it did not for minutes.
    """
    until, wait = time.monotonic() + PATIENCE_SECS, 0.05
    while True:
        try:
            return change()
        except _passing() as error:
            if time.monotonic() > until:
                raise StenoError(
                    f"the table could not be changed in {PATIENCE_SECS:.0f} s: {error_text(error)}"
                ) from None
        time.sleep(wait * random.random())
        wait = min(2 * wait, 5.0)


def _passing() -> tuple[type[Exception], ...]:
    """What a later try may not meet."""
    from pyiceberg import exceptions
    from requests import ConnectionError as Unreachable
    from requests import Timeout

    found = [exceptions.CommitFailedException, exceptions.CommitStateUnknownException, exceptions.ServerError]
    found += [exceptions.ServiceUnavailableError, exceptions.TooManyRequestsError, Unreachable, Timeout]
    try:
        from sqlalchemy.exc import OperationalError
    except ImportError:
        return tuple(found)
    return (*found, OperationalError)
