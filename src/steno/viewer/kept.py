"""`.steno-views/NAME.json` in the runs' directory: views of the page that somebody has kept under a name.

    {"steno_view": 1, "saved": "2026-11-30T15:37:29.123456Z", "view": "where=config.lr%20%3C%200.1&smooth=ema~40"}

`view` is what stands behind the # in the page's address. The directory may come from a stranger: a file that is none
of this is listed with what is wrong with it, and no link is followed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import files, inside, names
from steno.errors import CorruptError, RunNotFoundError, StenoError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = ".steno-views"
LONGEST: Final = 32_768
"""Characters of a view; a browser's address is not longer either."""
_FORMAT: Final = 1
_MOST_BYTES: Final = 128 << 10
_MOST: Final = 1000
"""Views that are listed."""
_SUFFIX: Final = ".json"


class TakenError(UsageError):
    """A view has the name already."""


@dataclass(frozen=True, slots=True)
class KeptView:
    """A kept view; `problem` says why there is no `view`, or is empty."""

    name: str
    view: str
    saved: str
    problem: str = ""


class KeptViews:
    """The views of one directory of runs.

    Args:
        root: the runs' directory; None: they are in an object store, and no view is kept there.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def all(self) -> tuple[list[KeptView], int]:
        """(the views by name, how many more there are)."""
        if self._root is None:
            return [], 0
        try:
            inside.refuse_link(self._root / FOLDER)
            found = sorted(
                one.removesuffix(_SUFFIX)
                for one in os.listdir(self._root / FOLDER)
                if one.endswith(_SUFFIX) and not one.startswith(".")
            )
        except FileNotFoundError:
            return [], 0
        except (OSError, CorruptError) as error:
            return [KeptView(FOLDER, "", "", str(error))], 0
        return [self._read(name) for name in found[:_MOST]], max(len(found) - _MOST, 0)

    def get(self, name: str) -> KeptView:
        """One view.

        Raises:
            UsageError: no view can be called so, or there is none.
            CorruptError: it cannot be read.
        """
        path = self._path(name)
        if not path.exists():
            known = ", ".join(one.name for one in self.all()[0][:10])
            raise UsageError(f"there is no view {name!r}: {f'there are {known}' if known else 'none is kept here'}")
        found = self._read(name)
        if found.problem:
            raise CorruptError(f"the view {name!r} cannot be opened: {found.problem}")
        return found

    def _read(self, name: str) -> KeptView:
        try:
            said = json.loads(inside.read(self._path(name), _MOST_BYTES))
            if not isinstance(said, dict) or said.get("steno_view") != _FORMAT:
                return KeptView(name, "", "", "it is no view that this version can read")
            return KeptView(name, _checked(said.get("view")), _short(said.get("saved")))
        except (ValueError, RecursionError):
            return KeptView(name, "", "", "its file is damaged")
        except OSError as error:
            return KeptView(name, "", "", error.strerror or str(error))
        except StenoError as error:
            return KeptView(name, "", "", str(error))

    def save(self, name: str, view: Any, *, replace: bool) -> KeptView:
        """Keep a view, durably.

        Raises:
            UsageError: no view can be called so, or it is no view.
            TakenError: the name is taken, and it is not to be replaced.
            StenoError: it cannot be written.
        """
        path, kept = self._path(name), _checked(view)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        said = {"steno_view": _FORMAT, "saved": now, "view": kept}
        with _told(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            if replace:
                files.write_json(path, said, sync=True)
            elif not files.create_json(path, said, sync=True):
                raise _taken(name)
        return KeptView(name, kept, now)

    def call(self, name: str, to: str) -> None:
        """Call a view otherwise.

        Raises:
            UsageError: no view can be called so, or there is none.
            TakenError: another view is called so.
            StenoError: it cannot be written.
        """
        old, new = self._path(name), self._path(to)
        with _told(name):
            try:
                files.rename_new(old, new)
            except FileExistsError:
                raise _taken(to) from None

    def drop(self, name: str) -> None:
        """Keep it no longer.

        Raises:
            UsageError: there is no such view.
            StenoError: it cannot be removed.
        """
        path = self._path(name)
        with _told(name):
            files.unlink(path)

    def _path(self, name: str) -> Path:
        if self._root is None:
            raise UsageError(
                "views are kept in a directory of runs, and these are in an object store: copy the address"
            )
        names.check(name, "view name")
        inside.refuse_link(self._root / FOLDER)
        return self._root / FOLDER / f"{name}{_SUFFIX}"


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What the system refuses, as an error that names the view."""
    try:
        yield
    except FileNotFoundError:
        raise RunNotFoundError(f"there is no view {name!r} any more") from None
    except OSError as error:
        raise StenoError(f"the view {name!r} was not changed: {error.strerror or error}") from None


def _taken(name: str) -> TakenError:
    return TakenError(f"a view is called {name!r} already: take another name, or replace it")


def _checked(view: Any) -> str:
    if not isinstance(view, str) or len(view) > LONGEST or not view.isprintable():
        raise UsageError(f"a view is the text behind the # of the page's address, of at most {LONGEST:,} characters")
    return view.removeprefix("#")


def _short(value: Any) -> str:
    return value[:40] if isinstance(value, str) else ""
