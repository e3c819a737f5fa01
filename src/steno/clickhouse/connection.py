"""A connection to ClickHouse over HTTP, by clickhouse-connect."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final

from steno.clickhouse import tables
from steno.clickhouse.place import PASSWORD
from steno.errors import StenoError, UsageError
from steno.secrecy import scrub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from steno.clickhouse.place import DatabaseUrl

_CONNECT_SECS: Final = 10
_ANSWER_SECS: Final = 300
_TOGETHER: Final = {"async_insert": 1, "wait_for_async_insert": 1}


class UnreachableError(StenoError):
    """ClickHouse does not answer, or not now: a later try may succeed."""


class RefusedError(StenoError):
    """ClickHouse has answered that it will not."""


def need() -> None:
    """Raise UsageError where clickhouse-connect is not installed."""
    if importlib.util.find_spec("clickhouse_connect") is None:
        raise UsageError(
            "ClickHouse needs clickhouse-connect, which is not installed: pip install 'stenolog[clickhouse]'"
        )


class Connection:
    """One database. Threads may share it: nothing is kept between two queries.

    Raises:
        UsageError: clickhouse-connect is not installed.
        UnreachableError: nobody answers.
        RefusedError: the user or the password is wrong.
    """

    def __init__(self, place: DatabaseUrl) -> None:
        need()
        import clickhouse_connect

        self.place = place
        self._client: Any = self._try(
            lambda: clickhouse_connect.get_client(
                host=place.host,
                port=place.port,
                username=place.user,
                password=os.environ.get(PASSWORD, ""),
                secure=place.is_secure,
                compress=False,
                connect_timeout=_CONNECT_SECS,
                send_receive_timeout=_ANSWER_SECS,
                autogenerate_session_id=False,
                query_retries=0,
                dedicated_pool=True,  # closed with the client
                client_name="steno",
            )
        )

    def close(self) -> None:
        """Let go of its sockets."""
        self._client.close()

    def rest(self) -> None:
        """Close the sockets that wait for a next query; it opens them again."""
        self._client.http.clear()

    def prepare(self) -> None:
        """Have the database, its tables and views there; nothing is changed where all of them are."""
        names = [*tables.TABLES, *tables.VIEWS]
        query = "select count() as n from system.tables where database = {at:String} and name in {names:Array(String)}"
        if self.rows(query, {"at": self.place.database, "names": names})["n"].to_pylist() == [len(names)]:
            return
        for statement in tables.statements(self.place.database):
            self.command(statement)

    def command(self, text: str) -> None:
        """A statement without an answer."""
        self._try(lambda: self._client.command(text))

    def insert(self, table: str, rows: pa.Table, token: str = "", *, waits: bool = False) -> None:
        """Rows into a table, whose columns have the table's names.

        Args:
            table: without the database.
            rows: what is inserted.
            token: what tells this insert from any other one.
            waits: until ClickHouse has put small inserts of many together; they are there when this returns.
        """
        settings = _settings(token) | (_TOGETHER if waits else {})
        self._try(lambda: self._client.insert_arrow(self._named(table), rows, settings=settings))

    def insert_file(self, table: str, columns: Sequence[str], data: bytes, token: str) -> None:
        """The columns of a Parquet file into a table: ClickHouse itself reads the file."""

        def send() -> None:
            self._client.raw_insert(self._named(table), list(columns), data, settings=_settings(token), fmt="Parquet")

        self._try(send)

    def _named(self, table: str) -> str:
        return f"{self.place.database}.{table}"

    def rows(
        self, query: str, values: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """A query's answer; {db} in it stands for the database, `{name:Type}` for values."""
        text = query.replace("{db}", self.place.database)
        return self._try(
            lambda: self._client.query_arrow(
                text, parameters=dict(values or {}), settings=dict(settings or {}), use_strings=True
            )
        )

    def _try(self, call: Any) -> Any:
        from clickhouse_connect.driver import exceptions

        try:
            return call()
        except exceptions.Error as error:
            said = scrub(str(error).strip().split("\n", 1)[0])[:500]
            if isinstance(error, exceptions.OperationalError) or not _is_answer(said):
                raise UnreachableError(f"ClickHouse at {self.place.url} does not answer: {said}") from None
            raise RefusedError(f"ClickHouse at {self.place.url} refuses: {said}") from None
        except OSError as error:
            raise UnreachableError(f"ClickHouse at {self.place.url} does not answer: {scrub(str(error))}") from None


def _is_answer(said: str) -> bool:
    """Whether ClickHouse itself has said it, with a number of its own."""
    return "code" in said.lower()


def _settings(token: str) -> dict[str, Any]:
    return {"insert_deduplication_token": token} if token else {}
