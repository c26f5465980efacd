"""The API's connections to PostgreSQL: a pool that survives the server's going and coming, and statements read
from files.

Promises: times come back as integers, ms since 1970 UTC; a lost server is `DatabaseAwayError`, never psycopg's own.
Every connection has the schema as its search path, UTC, and a statement time-out.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.adapt import Loader
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

SQL = Path(__file__).parent / "sql"
Connection = psycopg.AsyncConnection[DictRow]
Parts = Mapping[str, sql.Composable]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
LAST_MS = 253_370_764_800_000  # the year 9999: the last that PostgreSQL and Python both write


class DatabaseAwayError(Exception):
    """The server cannot be reached, or went away in the middle."""


class DatabaseBusyError(Exception):
    """A statement ran into its time-out."""


class SchemaMissingError(Exception):
    """A table or column is missing: `dure migrate` was not run, or is older than this program."""


class TakenError(Exception):
    """A unique key refused a row."""


class MillisecondLoader(Loader):
    """timestamptz as ms since 1970 UTC."""

    def load(self, data: Any) -> int:
        return (datetime.fromisoformat(bytes(data).decode()) - _EPOCH) // _MILLISECOND


def instant(ms: int) -> datetime:
    """The parameter for a time in ms."""
    return _EPOCH + timedelta(milliseconds=ms)


@cache
def text_of(name: str) -> str:
    """The text of sql/<name>.sql, without its opening comment (which may hold braces and percent signs)."""
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    return re.sub(r"\A(?:--[^\n]*\n)+", "", text)


def statement(name: str, parts: Parts) -> sql.Composed:
    """Statement `name` with its {parts} filled in."""
    return sql.SQL(text_of(name)).format(**parts)


class Session:
    """One connection on which statements run by name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        found = await self._connection.execute(statement(name, parts), parameters)
        return await found.fetchall() if found.description else []

    async def packed(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        """Rows in binary, for statements that answer in bytea, numbers and texts (never in timestamptz)."""
        found = await self._connection.execute(statement(name, parts), parameters, binary=True)
        return await found.fetchall()

    async def row(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> DictRow | None:
        found = await self._connection.execute(statement(name, parts), parameters)
        return await found.fetchone() if found.description else None


class Database:
    """The pool; one for the life of the process."""

    def __init__(
        self, url: str, schema: str, *, size: int = 8, wait_s: float = 2.0, statement_timeout_s: float = 15.0
    ) -> None:
        self.schema = schema
        self._url = url
        # answers of some milliseconds: starting workers or a compiler takes longer, and ingest needs the cores
        self._options = (
            f"-c search_path={schema} -c TimeZone=UTC -c DateStyle=ISO -c jit=off -c max_parallel_workers_per_gather=0"
            f" -c statement_timeout={int(statement_timeout_s * 1000)}"
        )
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs=self._connection_arguments(),
            min_size=1,
            max_size=size,
            timeout=wait_s,
            # after that a request starts the next attempt: a server that is back is found at once
            reconnect_timeout=1.0,
            max_waiting=size * 16,
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    def _connection_arguments(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "row_factory": dict_row,
            "options": self._options,
            "connect_timeout": 3,
            "application_name": "dure api",
        }

    async def open(self) -> None:
        """Start connecting; does not wait for the server."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def refusal(self) -> str:
        """What the server, or nobody in its place, says to one more attempt; empty when it lets us in."""
        try:
            await (await psycopg.AsyncConnection.connect(self._url, **self._connection_arguments())).close()
        except psycopg.OperationalError as error:
            return " ".join(str(error).split())
        return ""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection, each statement its own transaction."""
        with translated():
            async with self._pool.connection() as connection:
                yield Session(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A connection in one transaction, rolled back on an error."""
        with translated():
            async with self._pool.connection() as connection, connection.transaction():
                yield Session(connection)

    async def rows(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        async with self.session() as session:
            return await session.rows(name, parameters, **parts)

    async def packed(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        async with self.session() as session:
            return await session.packed(name, parameters, **parts)

    async def row(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> DictRow | None:
        async with self.session() as session:
            return await session.row(name, parameters, **parts)

    async def notifications(self, channel: str) -> AsyncIterator[str | None]:
        """Payloads of NOTIFY <channel>; None first, once it listens, and after silences. Raises DatabaseAwayError
        when it ends."""
        with translated():
            connection = await psycopg.AsyncConnection.connect(self._url, **self._connection_arguments())
            try:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                yield None
                while True:
                    async for notification in connection.notifies(timeout=20):
                        yield notification.payload
                    await connection.execute("SELECT 1")  # a dead server is noticed
                    yield None
            finally:
                await connection.close()


class translated:
    """psycopg's exceptions as this module's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
            raise DatabaseBusyError(str(error)) from error
        if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
            raise SchemaMissingError(str(error)) from error
        if isinstance(error, errors.UniqueViolation):
            raise TakenError(str(error.diag.constraint_name)) from error
        away = PoolTimeout | PoolClosed | TooManyRequests | psycopg.OperationalError | psycopg.InterfaceError
        if isinstance(error, away):
            raise DatabaseAwayError(str(error)) from error


Reader = Database | Session  # either runs statements by name; a session, all on one connection


async def _configure(connection: Connection) -> None:
    connection.adapters.register_loader("timestamptz", MillisecondLoader)


def identifiers(names: Sequence[str]) -> sql.Composed:
    """names, quoted and joined by commas."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
