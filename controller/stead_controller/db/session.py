"""Transactions: each mutation is one, retried where the database requires it.

SQLite has one writer at a time, so all writing transactions run in one thread, in order, without lock errors; reads
run in parallel in a few threads (WAL). Writers share one connection: SQLite empties a connection's cache of pages when
another one has written, so only a connection that does all the writing still has, in the next transaction, the pages
that it has read.

On both, writing transactions that wait at the same moment share a commit, which waits for the disk: each is all or
nothing by a savepoint of its own, and is answered once all are durable.

PostgreSQL's transactions are SERIALIZABLE, and writing ones of all controllers run one after another as well: launches
at the same moment all want the rows of the revision, the quota and the host with the most room, and of those that were
let run together most were rejected. Whatever it still rejects because of concurrency (SQLSTATE 40001 and 40P01) is
tried again.
"""

import asyncio
import contextlib
import math
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from stead_controller.db.exchanges import ISOLATION, let_wait
from stead_controller.db.flush import flush
from stead_controller.db.prepared import execute_text, send
from stead_controller.db.wakes import Wakes, written
from stead_controller.errors import OutOfRoom, Overloaded
from stead_controller.room import Room

_READERS: Final = 4
_CACHE_KIB: Final = 2 << 10  # of a reader, of which little is left after the next write
_WRITERS_CACHE_KIB: Final = 8 << 10
# Pages of the log after which they are written to the database: a page that many transactions change is written once.
# At most 16 MiB are read again at the next start, which takes some milliseconds.
_CHECKPOINT_PAGES: Final = 4096
# Statements that a connection keeps prepared, of 18 KiB each; a launch and what its host reports are 70.
_STATEMENTS: Final = 32
_WRITERS_STATEMENTS: Final = 128
# How many transactions share a commit, and how long the first of them may wait for those that come meanwhile.
_SHARING: Final = 16
_SHARING_SECONDS: Final = 0.03
_TRIES: Final = 8
# After which PostgreSQL ends a writing transaction that asks for nothing, as of a controller that is paused: the others
# wait for it. It is begun anew.
_MOST_IDLE_MS: Final = 1_500
# Of a connection, unless the URL says otherwise: a server whose machine is cut off is noticed after 20 s. As the kernel
# is set (tcp(7)) it is after two hours if the server owes an answer, and after a quarter of an hour otherwise.
_OF_CONNECTIONS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# A connection that was used so lately is not asked whether it still is one: if not, the transaction is begun anew.
_FRESH_SECONDS: Final = 1.0
_USED: Final = "stead_used"
_RETRY_SQLSTATES: Final = frozenset({"40001", "40P01"})
_FULL_SQLSTATE: Final = "53100"
CHANNEL: Final = "stead_commits"
"""At which controllers that share a database of PostgreSQL tell each other of their commits."""
_NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', $1)"
# SQLITE_FULL, and the extended code for the memory that WAL's readers and writers share.
_FULL_SQLITE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_RETRY_SQLITE: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED})


@dataclass(slots=True)
class Transaction(Wakes):
    """One open transaction, and the components to wake once it is committed.

    `facts` caches values that are constant during the transaction, by the module that caches them.
    """

    connection: Connection
    facts: dict[str, Any] = field(default_factory=dict)
    _session: Session | None = None

    @property
    def session(self) -> Session:
        """The session on the connection, made at its first use: many transactions only read plain columns."""
        if self._session is None:
            self._session = Session(self.connection, autoflush=False, expire_on_commit=False)
        return self._session

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo all changes of the block when it raises anything."""
        with self.session.begin_nested():
            self.session.connection()  # sets the savepoint; prepared statements alone would not
            yield
            send(self.connection)  # what is violated must be raised before the savepoint is released

    def flush(self) -> None:
        """Write the session's changes."""
        if self._session is not None:
            flush(self._session)

    def close(self) -> None:
        """Detach the session's objects; to be called at the end, whatever came of the transaction."""
        if self._session is not None:
            self._session.close()


class _LostBeforeCommit(Exception):
    """The connection to the server ended in the middle of a transaction, which can be begun anew."""

    def __init__(self, error: DBAPIError) -> None:
        """Take what was raised."""
        super().__init__(str(error))
        self.error = error


type CommitListener = Callable[[Wakes], None]


@dataclass(slots=True, eq=False)
class _Writing:
    """A transaction that waits for the thread that writes; it may be begun again, and is answered once.

    `tx` is what has run and is to be committed; `result` or `error` is what came of it. What `is_late` never ran.
    """

    function: Callable[[Transaction], Any]
    dry_run: bool
    answer: Future[Any] = field(default_factory=Future)
    tx: Transaction | None = None
    result: Any = None
    error: Exception | None = None
    is_late: bool = False

    def give_up(self) -> None:
        """Let it not run any more, unless it has begun."""
        self.is_late = self.answer.cancel()

    def run(self, connection: Connection) -> None:
        """Run it in a savepoint, which what fails and a dry run undo; raises where all that came before is undone."""
        execute_text(connection, "SAVEPOINT shared")
        try:
            with contextlib.closing(Transaction(connection)) as tx:
                self.result = self.function(tx)
                tx.flush()
        except DBAPIError:  # alone, it may be tried again
            raise
        except Exception as error:  # it is raised to the caller that awaits the answer
            self.error = error
        if self.dry_run or self.error is not None:
            execute_text(connection, "ROLLBACK TO shared")
        else:
            self.tx = tx
        execute_text(connection, "RELEASE shared")


class Database:
    """The engine and its threads; all SQL goes through it.

    `run` commits when the function returns, rolls back when it raises; with `dry_run` it always rolls back. It raises
    OutOfRoom when the database's disk is full.
    """

    def __init__(self, url: str, room: Room | None = None) -> None:
        """Open the database; no connection is made before the first use.

        On a full disk the space reserved in `room` is released, and the failed transaction is tried again.
        """
        self._room = room
        self.id = secrets.token_hex(8)  # of this process, among the controllers that share the database
        self.engine = _engine(url)
        self._sqlite = self.engine.dialect.name == "sqlite"
        # Opens the connection that writes, which keeps more statements than those of readers.
        self._opener = _sqlite_engine(url, _WRITERS_STATEMENTS, poolclass=NullPool) if self._sqlite else self.engine
        self._readers = ThreadPoolExecutor(_READERS, "db-read")
        self._writers = ThreadPoolExecutor(1, "db-write")
        self._write_lock = threading.Lock() if self._sqlite else None
        self._writer: Connection | None = None  # of SQLite, once something was written; used with the lock held
        self._listeners: list[CommitListener] = []
        self._heralds: list[CommitListener] = []
        self._asked = {False: 0, True: 0}  # transactions that wait or run, by whether they write
        self._waiting: deque[_Writing] = deque()
        self._urgent: deque[_Writing] = deque()  # those that go before them
        self._refused = 0  # that waited too long

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit, in the thread that committed; it must be quick and not raise.

        Those of other controllers come by `wake`, in another thread.
        """
        self._listeners.append(listener)

    def before_traced(self, herald: CommitListener) -> None:
        """Call `herald` right before each commit of a traced call, whose rows others may read as soon as it is done.

        It may come twice, and for a commit that fails.
        """
        self._heralds.append(herald)

    def _announce(self, tx: Wakes) -> None:
        for herald in self._heralds if tx.trace else ():
            herald(tx)

    def wake(self, wakes: Wakes) -> None:
        """Tell the listeners of what another controller committed; callable from any thread."""
        for listener in self._listeners:
            listener(wakes)

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        urgent: bool = False,
        within: float = math.inf,
    ) -> T:
        """Run a function in a worker thread inside one transaction and return its result.

        An `urgent` one that writes goes before the others that wait: what few hosts say must not wait for many calls.
        One that writes and has not begun `within` so many seconds is not begun; raises Overloaded then.
        """
        self._asked[writes] += 1
        try:
            if writes:
                writing = _Writing(function, dry_run)
                result: T = await self._wait_to_write(writing, self._urgent if urgent else self._waiting, within)
                return result
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, self._attempt, function, writes, dry_run)
        finally:
            self._asked[writes] -= 1

    def waiting(self, *, writes: bool) -> int:
        """Return how many transactions of `run` wait for a thread or have one."""
        return self._asked[writes]

    @property
    def refused(self) -> int:
        """How many transactions were not begun, since they would have waited too long."""
        return self._refused

    def run_blocking[T](self, function: Callable[[Transaction], T], *, writes: bool = True, dry_run: bool = False) -> T:
        """Do the same as `run` in the calling thread (for programs without an event loop)."""
        return self._attempt(function, writes, dry_run)

    def close(self) -> None:
        """Stop the threads and close the connections."""
        self._readers.shutdown()
        self._writers.shutdown()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.engine.dispose()

    async def _wait_to_write(self, writing: _Writing, queue: deque[_Writing], within: float) -> Any:
        queue.append(writing)
        self._writers.submit(self._write)
        answer = asyncio.wrap_future(writing.answer)
        if within == math.inf:
            return await answer
        # By the clock and not in the thread that writes, which may itself wait for the database.
        patience = asyncio.get_running_loop().call_later(within, writing.give_up)
        try:
            return await answer
        except asyncio.CancelledError:
            if not writing.is_late:
                raise
        finally:
            patience.cancel()
        with contextlib.suppress(ValueError):  # the thread that writes has it already
            queue.remove(writing)
        self._refused += 1
        raise Overloaded

    def _write(self) -> None:
        """Run what waits, if an earlier call did not run it with others."""
        first = self._next()
        if first is None:
            return
        if self._waiting or self._urgent:
            self._write_together(first)
        else:
            self._write_alone(first)

    def _next(self) -> _Writing | None:
        """Return the transaction that is next, without those whose callers do not wait any more."""
        while queue := self._urgent or self._waiting:
            writing = queue.popleft()
            if writing.answer.set_running_or_notify_cancel():
                return writing
        return None

    def _write_alone(self, writing: _Writing) -> None:
        try:
            result = self._attempt(writing.function, writes=True, dry_run=writing.dry_run)
        except BaseException as error:  # it is raised to the caller that awaits the answer
            writing.answer.set_exception(error)
        else:
            writing.answer.set_result(result)

    def _write_together(self, first: _Writing) -> None:
        """Run a transaction and those that come soon with one commit; if that fails, each is begun again alone."""
        begun: list[_Writing] = []
        try:
            with self._connection(writes=True) as connection:
                with self._known_as_lost(connection):
                    self._begin(connection, writes=True)
                    self._run_together(first, begun, connection)
                self._commit_together(begun, connection)
        except Exception:  # all of them were undone, and whose fault it was gets the error by itself
            for writing in begun:
                self._write_alone(writing)
            return
        for writing in begun:
            self._tell(writing)

    def _run_together(self, first: _Writing, begun: list[_Writing], connection: Connection) -> None:
        """Run a transaction and those that come soon, which are then in `begun`."""
        until = time.monotonic() + _SHARING_SECONDS
        following: _Writing | None = first
        while following is not None:
            begun.append(following)
            following.run(connection)
            is_full = len(begun) == _SHARING or time.monotonic() > until
            following = None if is_full else self._next()
        if not self._sqlite:
            self._notify(connection, (each.tx for each in begun if each.tx is not None))

    def _commit_together(self, begun: Sequence[_Writing], connection: Connection) -> None:
        for each in begun:
            if each.tx is not None:
                self._announce(each.tx)
        try:
            connection.commit()
        except DBAPIError as error:
            is_lost = self._is_lost(connection)
            if not self._sqlite:
                connection.invalidate()
            if not is_lost:
                raise
            for each in begun:  # nobody knows whether they are committed, so they must not be begun again
                each.tx, each.error = None, error

    def _notify(self, connection: Connection, wakes: Iterable[Wakes]) -> None:
        """Let the other controllers know at the commit what it wakes, and send all that waits."""
        for each in wakes:
            for told in written(each, self.id):
                execute_text(connection, _NOTIFY, told)
        send(connection)

    def _tell(self, writing: _Writing) -> None:
        """Answer a transaction whose changes, if it has any, are committed."""
        error: Exception | None = writing.error
        if writing.tx is not None:
            try:
                self.wake(writing.tx)
            except Exception as raised:  # it is raised to the caller that awaits the answer
                error = raised
        if error is not None:
            writing.answer.set_exception(error)
        else:
            writing.answer.set_result(writing.result)

    def _attempt[T](self, function: Callable[[Transaction], T], writes: bool, dry_run: bool) -> T:
        for attempt in range(_TRIES):
            try:
                return self._once(function, writes, dry_run)
            except _LostBeforeCommit as lost:
                if attempt + 1 == _TRIES:
                    raise lost.error from lost
                time.sleep(0.002 * 2**attempt)
            except DBAPIError as error:
                if _is_full(error):
                    if self._room is not None and self._room.give_up():
                        continue
                    raise OutOfRoom from error
                if attempt + 1 == _TRIES or not _asks_for_retry(error):
                    raise
                time.sleep(0.002 * 2**attempt)
        raise AssertionError("unreachable")

    def _once[T](self, function: Callable[[Transaction], T], writes: bool, dry_run: bool) -> T:
        with self._connection(writes=writes) as connection, contextlib.closing(Transaction(connection)) as tx:
            with self._known_as_lost(connection):
                self._begin(connection, writes=writes)
                result = function(tx)
                tx.flush()
                if not writes or dry_run:
                    connection.rollback()
                    return result
                if not self._sqlite:
                    self._notify(connection, [tx])
            self._announce(tx)
            # The session only joined the connection's transaction, which must be ended here.
            connection.commit()
        self.wake(tx)
        return result

    @contextlib.contextmanager
    def _known_as_lost(self, connection: Connection) -> Iterator[None]:
        """Tell an error by which the server's connection ended apart from others: nothing was committed."""
        try:
            yield
        except DBAPIError as error:
            if self._is_lost(connection):
                connection.invalidate()
                self.engine.dispose()  # the others are as old: those that are free are made anew
                raise _LostBeforeCommit(error) from error
            raise

    def _is_lost(self, connection: Connection) -> bool:
        if self._sqlite or connection.invalidated:
            return not self._sqlite
        server = connection.connection.dbapi_connection
        return server is None or bool(server.closed)

    def _begin(self, connection: Connection, *, writes: bool) -> None:
        # SQLAlchemy now regards it as begun, even if only prepared statements follow; nothing was sent.
        connection.begin()
        if self._sqlite:
            execute_text(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")
        elif writes:
            let_wait(connection)
            for statement in _queue_of_writers():
                execute_text(connection, statement)

    @contextlib.contextmanager
    def _connection(self, *, writes: bool) -> Iterator[Connection]:
        """Give a connection without a transaction; whatever is not committed at the end is rolled back."""
        if self._write_lock is None or not writes:
            with self.engine.connect() as connection:
                yield connection
            return
        with self._write_lock:
            if self._writer is None:
                self._writer = Connection(self.engine, self._opener.raw_connection())
                execute_text(self._writer, f"PRAGMA cache_size=-{_WRITERS_CACHE_KIB}")
            connection = self._writer
            try:
                yield connection
                connection.rollback()
            except DBAPIError:
                self._writer = None
                connection.invalidate()  # whatever ails it, the next transaction has another one
                connection.close()
                raise
            except BaseException:
                connection.rollback()
                raise


def _queue_of_writers() -> tuple[str, ...]:
    """Return what a writing transaction of PostgreSQL executes first, in one exchange with its first statement.

    LOCK takes no snapshot (https://www.postgresql.org/docs/17/sql-lock.html), so that what was committed while it
    waited is seen; `pg_advisory_xact_lock` is called in a SELECT, which sees what was there when it began to wait. This
    mode conflicts with itself and VACUUM, not with migrations, which alone use the table.
    """
    return (
        f"SET LOCAL idle_in_transaction_session_timeout = '{_MOST_IDLE_MS}ms'",
        "LOCK TABLE alembic_version IN SHARE UPDATE EXCLUSIVE MODE",
    )


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return _postgresql_engine(url)
    # The connection that was used last is used next: of many idle ones few have a cache.
    return _sqlite_engine(url, _STATEMENTS, pool_size=2 * _READERS, pool_use_lifo=True)


def _postgresql_engine(url: str) -> Engine:
    arguments = {name: value for name, value in _OF_CONNECTIONS.items() if name not in make_url(url).query}
    options = {"pool_size": 2 * _READERS, "pool_use_lifo": True, "connect_args": arguments}
    engine = create_engine(url, isolation_level=ISOLATION, **options)

    @event.listens_for(engine, "before_cursor_execute")
    def _send(connection: Connection, *_: Any) -> None:
        send(connection)

    @event.listens_for(engine, "checkin")
    def _note(_driver: Any, record: Any) -> None:
        record.info[_USED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _look(driver: Any, record: Any, _proxy: Any) -> None:
        """Ask the server whether it is still there, as `pool_pre_ping` does, of a connection that was idle."""
        if time.monotonic() - record.info.get(_USED, -math.inf) < _FRESH_SECONDS:
            return
        try:
            engine.dialect.do_ping(driver)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # all connections are made anew: the server was away

    return engine


def _sqlite_engine(url: str, statements: int, **options: Any) -> Engine:
    """Return an engine whose connections each keep so many statements prepared."""
    arguments = {"timeout": 10, "check_same_thread": False, "cached_statements": statements}
    engine = create_engine(url, connect_args=arguments, **options)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        # Transactions are begun explicitly (IMMEDIATE for writers), not by the driver at the first write.
        connection.isolation_level = None
        # Each connection has its own cache; pages outside it come from the kernel's page cache, which all share.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"cache_size=-{_CACHE_KIB}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        # The service may write to its state directory only: a statement that needs a temporary file would fail.
        connection.execute("PRAGMA temp_store=MEMORY")

    return engine


def _is_full(error: DBAPIError) -> bool:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", None) in _FULL_SQLITE
    return getattr(original, "sqlstate", None) == _FULL_SQLSTATE


def _asks_for_retry(error: DBAPIError) -> bool:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", None) in _RETRY_SQLITE
    return getattr(original, "sqlstate", None) in _RETRY_SQLSTATES
