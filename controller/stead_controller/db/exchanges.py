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
type Rows = list[tuple[Any, ...]]

ISOLATION: Final = "SERIALIZABLE"
"""Of all transactions."""
_BEGIN: Final = f"BEGIN ISOLATION LEVEL {ISOLATION}".encode()
_OPTION: Final = "waiting_statements"
_SERVER: Final = "stead_server"
_STATEMENTS: Final = 160  # that a connection keeps prepared


class Held:
    """What a writing transaction of PostgreSQL holds: statements that wait, and answers that nobody asked for yet."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.waiting: list[Statement] = []
        self.is_passed = False
        self._answers: dict[tuple[Any, ...], Rows] = {}

    def taken(self) -> list[Statement]:
        """Return what waits, which waits no more."""
        statements, self.waiting = self.waiting, []
        return statements

    def keep(self, question: Statement, rows: Rows) -> None:
        """Keep an answer until its question is asked, or anything is written."""
        self._answers[_key(question)] = rows

    def knows(self, question: Statement) -> bool:
        """Tell whether the answer to a question is here."""
        return bool(self._answers) and _key(question) in self._answers

    def answer(self, question: Statement) -> Rows | None:
        """Return the answer to a question, if it is here, once."""
        return self._answers.pop(_key(question), None) if self._answers else None

    def forget_answers(self) -> None:
        """Something is written: what was read before may be otherwise now."""
        self._answers.clear()


def _key(question: Statement) -> tuple[Any, ...]:
    sql, arguments = question
    return (sql, *(tuple(each) if isinstance(each, list) else each for each in arguments))


def let_wait(connection: Connection) -> None:
    """From now on let what returns no rows wait, until this connection is closed, which drops what still does."""
    connection.execution_options(**{_OPTION: Held()})


def held(connection: Connection) -> Held | None:
    """Return what is held; None where statements may not wait."""
    found: Held | None = connection.get_execution_options().get(_OPTION)
    return found


def execute(connection: Connection, statements: Sequence[Statement], answers: int = 1) -> list[Rows]:
    """Execute some statements in one exchange; return the rows of the last ones. Raises the driver's errors.

    Of several answers each must be that of a question, which returns rows.
    """
    server: _Server | None = connection.info.get(_SERVER)
    if server is None:
        server = connection.info[_SERVER] = _Server(connection.connection.dbapi_connection)
    return server.execute(statements, answers)


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

    def execute(self, statements: Sequence[Statement], answers: int) -> list[Rows]:
        """Execute some statements and return the rows of so many of the last."""
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
            results = self._results()
        except self._errors.Error:
            self._forget_since(made)
            raise
        finally:
            if pg.status == self._pq.ConnStatus.OK:
                pg.exit_pipeline_mode()
        return [self._rows(each) for each in results[-answers:]]

    def _rows(self, result: Any) -> Rows:
        self._values.set_pgresult(result)
        rows: Rows = self._values.load_rows(0, result.ntuples, tuple)
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

    def _results(self) -> list[Any]:
        """Read all answers and return those with rows, or the last; raises the first error."""
        found, last, failure = [], None, None
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
            if status == self._pq.ExecStatus.TUPLES_OK:
                found.append(result)
        if failure is not None:
            raise self._errors.error_from_result(failure)
        if self._pg.status != self._pq.ConnStatus.OK:
            raise self._errors.OperationalError("the server has ended the connection")
        return found or [last]

    def _await(self) -> None:
        """Wait, so that other threads run meanwhile, until the next answer is here."""
        pg = self._pg
        while pg.is_busy():
            unsent = pg.flush()
            poll = select.poll()
            poll.register(pg.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            poll.poll()
            pg.consume_input()
