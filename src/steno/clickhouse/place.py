"""A database of ClickHouse by its URL: clickhouse://user@host:port/database, and a run in it behind that."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from steno.errors import UsageError
from steno.secrecy import mask

SCHEME: Final = "clickhouse"
PASSWORD: Final = "CLICKHOUSE_PASSWORD"
USER: Final = "CLICKHOUSE_USER"
_FORM: Final = "clickhouse://user@host:port/database"
_DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PORT: Final = 8123
_TLS_PORTS: Final = frozenset({443, 8443})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database. Over TLS on the ports 443 and 8443, as ClickHouse has it."""

    host: str
    port: int
    user: str
    database: str

    @property
    def url(self) -> str:
        """As `place_of` reads it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{SCHEME}://{self.user}@{host}:{self.port}/{self.database}"

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.port in _TLS_PORTS


def parted(url: str, what: str = "the URL") -> tuple[DatabaseUrl, str]:
    """The database that a URL names, and the run `project/name` in it, "" without one.

    Raises:
        UsageError: it is none, or it carries a password.
    """
    shown = mask("", url)
    try:
        found = urlsplit(url)
        port = found.port or _PORT
    except ValueError:
        raise UsageError(f"{what} {shown!r}: a database of ClickHouse is {_FORM}") from None
    if found.password is not None:
        raise UsageError(f"{what} carries a password: leave it out and set {PASSWORD}, which is kept nowhere")
    if found.query or found.fragment:
        raise UsageError(f"{what} {shown!r} carries options, and there are none: {_FORM}")
    database, _, run = found.path.strip("/").partition("/")
    if found.scheme.lower() != SCHEME or not found.hostname or not _DATABASE.fullmatch(database):
        raise UsageError(f"{what} {shown!r}: a database of ClickHouse is {_FORM}")
    user = unquote(found.username) if found.username else os.environ.get(USER) or "default"
    return DatabaseUrl(found.hostname, port, user, database), unquote(run)


def place_of(url: str, what: str = "the URL") -> DatabaseUrl:
    """The database that a URL names. Raises UsageError as `parted`, or where it names more than a database."""
    place, run = parted(url, what)
    if run:
        raise UsageError(f"{what} {mask('', url)!r} has more than a database: {_FORM}")
    return place
