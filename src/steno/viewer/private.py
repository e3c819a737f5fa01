"""What is kept out of a file that is handed on: secrets, paths, and the names of machines and users."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING, Any, Final

from steno import host, secrecy

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH: Final = re.compile(
    r"file:/+[^\s\"'<>]*|(?<![\w/.:<])~?(?:/[^\s/\"'<>,;:]+)+/?|(?<!\w)[A-Za-z]:[\\/][^\s\"'<>]*|\\\\[^\s\"'<>]+"
)
_GENERIC: Final = frozenset({"root", "user", "admin", "ubuntu", "localhost", "runner"})
"""Names that say nothing of anybody, and that are words of configurations."""
_LEAST: Final = 2
HIDDEN: Final = "…"


class Private:
    """Cleans texts and values. `hosts`: the machines that the runs name."""

    def __init__(self, hosts: Iterable[str]) -> None:
        names = {*hosts, host.name(), _user()}
        names |= {name.partition(".")[0] for name in names}
        wanted = sorted((one for one in names if len(one) >= _LEAST and one.lower() not in _GENERIC), key=len)
        words = "|".join(re.escape(one) for one in reversed(wanted))
        self._names = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE) if wanted else None

    def text(self, text: str) -> str:
        """The text without them."""
        found = _PATH.sub(HIDDEN, secrecy.scrub(text))
        return found if self._names is None else self._names.sub(HIDDEN, found)

    def value(self, name: str, value: Any) -> Any:
        """The value of that name without them."""
        return self._inside(secrecy.mask(name, value))

    def _inside(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self._inside(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._inside(one) for one in value]
        return value


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
