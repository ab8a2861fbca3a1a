"""Sends statements to PostgreSQL in as few exchanges as there are answers to wait for.

Most of what a statement costs there, on both sides, is to send it, to wait and to be woken. So in a writing transaction
what returns no rows waits for the next statement that does, or for the end, and all go together in one pipeline
(https://www.postgresql.org/docs/17/libpq-pipeline-mode.html). What one of them violates is raised there. What
SQLAlchemy itself executes, also for savepoints, comes after what waits: `prepared.send` is called before it.

This uses libpq by psycopg's `pq`: psycopg's own pipelines cost three times as much, and end with a message after which
the server does not notice that a transaction is idle (`idle_in_transaction_session_timeout`).
"""

import select
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

type Statement = tuple[str, Sequence[Any]]
"""SQL with numbered places ($1), and the values of these."""

ISOLATION: Final = "SERIALIZABLE"
"""Of all transactions."""
_BEGIN: Final = f"BEGIN ISOLATION LEVEL {ISOLATION}".encode()
_OPTION: Final = "waiting_statements"
_SERVER: Final = "stead_server"
_STATEMENTS: Final = 160  # that a connection keeps prepared


def let_wait(connection: Connection) -> None:
    """From now on let what returns no rows wait, until this connection is closed, which drops what still does."""
    connection.execution_options(**{_OPTION: []})


def waiting(connection: Connection) -> list[Statement] | None:
    """Return what waits, to which more may be appended; None where nothing may."""
    found: list[Statement] | None = connection.get_execution_options().get(_OPTION)
    return found


def taken(connection: Connection) -> list[Statement]:
    """Return what waits, which waits no more."""
    found = waiting(connection)
    if not found:
        return []
    statements = found[:]
    found.clear()
    return statements


def execute(connection: Connection, statements: Sequence[Statement]) -> list[tuple[Any, ...]]:
    """Execute some statements in one exchange and return the rows of the last; raises the driver's errors."""
    server: _Server | None = connection.info.get(_SERVER)
    if server is None:
        server = connection.info[_SERVER] = _Server(connection.connection.dbapi_connection)
    return server.execute(statements)


class _Server:
    """The server at the other end of one of the driver's connections, with the statements that it has prepared."""

    def __init__(self, driver: Any) -> None:
        from psycopg import errors, pq  # noqa: PLC0415 - an extra, which a controller with SQLite does not have
        from psycopg.adapt import PyFormat, Transformer  # noqa: PLC0415 - the same

        self._pq, self._errors, self._any_format = pq, errors, PyFormat.AUTO
        self._pg = driver.pgconn
        self._values = Transformer(driver)
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}  # by SQL and types, the last used at the end
        self._made = 0
        # Else the driver would, at each rollback, also let the server forget what is prepared here.
        driver.prepare_threshold = None

    def execute(self, statements: Sequence[Statement]) -> list[tuple[Any, ...]]:
        """Execute some statements and return the rows of the last."""
        pg = self._pg
        begins = pg.transaction_status == self._pq.TransactionStatus.IDLE
        made = self._made
        pg.enter_pipeline_mode()
        try:
            if begins:
                pg.send_query_params(_BEGIN, None)
            for sql, arguments in statements:
                self._send(sql, arguments)
            pg.pipeline_sync()
            last = self._last_result()
        except self._errors.Error:
            self._forget_since(made)
            raise
        finally:
            if pg.status == self._pq.ConnStatus.OK:
                pg.exit_pipeline_mode()
        self._values.set_pgresult(last)
        rows: list[tuple[Any, ...]] = self._values.load_rows(0, last.ntuples, tuple)
        return rows

    def _send(self, sql: str, arguments: Sequence[Any]) -> None:
        pg, values = self._pg, self._values
        if not arguments:
            pg.send_query_params(sql.encode(), None)
            return
        params = values.dump_sequence(arguments, [self._any_format] * len(arguments))
        types: tuple[int, ...] = values.types or ()
        key = (sql, types)
        name = self._names.pop(key, None)
        if name is None:
            name = self._prepare(sql, types)
        self._names[key] = name
        pg.send_query_prepared(name, params, values.formats)

    def _prepare(self, sql: str, types: tuple[int, ...]) -> bytes:
        if len(self._names) >= _STATEMENTS:
            oldest = self._names.pop(next(iter(self._names)))
            self._pg.send_query_params(b"DEALLOCATE " + oldest, None)
        self._made += 1
        name = b"stead_%d" % self._made
        self._pg.send_prepare(name, sql.encode(), types)
        return name

    def _forget_since(self, made: int) -> None:
        """Use no statement again that was to be prepared in a pipeline that failed: the server may not have it."""
        new = {b"stead_%d" % number for number in range(made + 1, self._made + 1)}
        self._names = {key: name for key, name in self._names.items() if name not in new}

    def _last_result(self) -> Any:
        """Read all answers and return the last; raises the first error."""
        last = failure = None
        while True:
            self._await()
            result = self._pg.get_result()
            if result is None:
                if self._pg.status != self._pq.ConnStatus.OK:
                    break
                continue  # all of one statement was read
            status = result.status
            if status == self._pq.ExecStatus.PIPELINE_SYNC:
                break
            if status == self._pq.ExecStatus.FATAL_ERROR:
                failure = failure or result
            last = result
        if failure is not None:
            raise self._errors.error_from_result(failure)
        if self._pg.status != self._pq.ConnStatus.OK:
            raise self._errors.OperationalError("the server has ended the connection")
        return last

    def _await(self) -> None:
        """Wait, so that other threads run meanwhile, until the next answer is here."""
        pg = self._pg
        while pg.is_busy():
            unsent = pg.flush()
            poll = select.poll()
            poll.register(pg.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            poll.poll()
            pg.consume_input()
