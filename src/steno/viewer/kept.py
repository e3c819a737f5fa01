"""`.steno-views/NAME.json` next to the runs of a directory or a store: views of the page that somebody keeps by a name.

    {"steno_view": 1, "saved": "2026-11-30T15:37:29.123456Z", "view": "where=config.lr%20%3C%200.1&smooth=ema~40"}

`view` is what stands behind the # in the page's address. The directory may come from a stranger: a file that is none
of this is listed with what is wrong with it, and no link is followed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from steno import names
from steno.errors import CorruptError, RunNotFoundError, StenoError, UsageError
from steno.store import together
from steno.viewer import view_folders

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
_GONE: Final = "its file was removed; save the view again"
_AT_ONCE: Final = 8


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
    """The views that are kept next to the runs of one place.

    Args:
        root: the runs' directory, or the URL of an object store. No view is kept in a database.
    """

    def __init__(self, root: Path | str) -> None:
        self._folder = view_folders.folder_of(root, FOLDER)
        self._known: dict[str, tuple[str, KeptView]] = {}

    def all(self) -> tuple[list[KeptView], int]:
        """(the views by name, how many more there are). One that has not changed is not read again."""
        try:
            versions = self._folder.versions()
        except FileNotFoundError:
            return [], 0
        except (OSError, StenoError) as error:
            return [KeptView(FOLDER, "", "", str(error))], 0
        files = {name for name in versions if name.endswith(_SUFFIX) and not name.startswith(".")}
        found = sorted(one.removesuffix(_SUFFIX) for one in files)
        wanted = found[:_MOST]
        views = together.each(lambda name: self._seen(name, versions[f"{name}{_SUFFIX}"]), wanted, _AT_ONCE)
        return views, len(found) - len(wanted)

    def get(self, name: str) -> KeptView:
        """One view.

        Raises:
            UsageError: no view can be called so, or there is none.
            CorruptError: it cannot be read.
        """
        found = self._read(_file(name))
        if found is None:
            known = ", ".join(one.name for one in self.all()[0][:10])
            raise UsageError(f"there is no view {name!r}: {f'there are {known}' if known else 'none is kept here'}")
        if found.problem:
            raise CorruptError(f"the view {name!r} cannot be opened: {found.problem}")
        return found

    def _seen(self, name: str, version: str) -> KeptView:
        known = self._known.get(name)
        if known is None or known[0] != version or known[1].problem:
            known = version, self._read(f"{name}{_SUFFIX}") or KeptView(name, "", "", _GONE)
            self._known[name] = known
        return known[1]

    def _read(self, file: str) -> KeptView | None:
        name = file.removesuffix(_SUFFIX)
        try:
            said = json.loads(self._folder.read(file, _MOST_BYTES))
            if not isinstance(said, dict) or said.get("steno_view") != _FORMAT:
                return KeptView(name, "", "", "it is no view that this version can read")
            return KeptView(name, _checked(said.get("view")), _short(said.get("saved")))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            return KeptView(name, "", "", "its file is damaged")
        except OSError as error:
            return KeptView(name, "", "", error.strerror or str(error))
        except StenoError as error:
            return KeptView(name, "", "", str(error))

    def save(self, name: str, view: Any, *, replace: bool) -> KeptView:
        """Keep a view, durably.

        Raises:
            UsageError: no view can be called so, it is no view, or none is kept here.
            TakenError: the name is taken, and it is not to be replaced.
            StenoError: it cannot be written.
        """
        file, kept = _file(name), _checked(view)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        data = json.dumps({"steno_view": _FORMAT, "saved": now, "view": kept}, indent=1).encode() + b"\n"
        with _reported(name):
            if replace:
                self._folder.replace(file, data)
            elif not self._folder.create(file, data):
                raise _taken(name)
        return KeptView(name, kept, now)

    def call(self, name: str, to: str) -> None:
        """Call a view otherwise.

        Raises:
            UsageError: no view can be called so, or there is none.
            TakenError: another view is called so.
            StenoError: it cannot be written.
        """
        old, new = _file(name), _file(to)
        with _reported(name):
            try:
                self._folder.call(old, new, _MOST_BYTES)
            except FileExistsError:
                raise _taken(to) from None

    def drop(self, name: str) -> None:
        """Keep it no longer.

        Raises:
            UsageError: there is no such view.
            StenoError: it cannot be removed.
        """
        file = _file(name)
        with _reported(name):
            self._folder.remove(file)


def _file(name: str) -> str:
    return f"{names.check(name, 'view name')}{_SUFFIX}"


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """What the system refuses, as an error that names the view."""
    try:
        yield
    except FileNotFoundError:
        raise RunNotFoundError(f"there is no view {name!r}: it was removed or renamed; reload the page") from None
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
