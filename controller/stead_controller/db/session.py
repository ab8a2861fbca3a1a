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
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from stead_controller.db.connections import open_engine, open_writers_engine
from stead_controller.db.exchanges import let_wait
from stead_controller.db.failures import asks_for_retry, is_away, is_full
from stead_controller.db.flush import flush
from stead_controller.db.prepared import execute_text, send
from stead_controller.db.wakes import Wakes, written
from stead_controller.errors import OutOfRoom, Overloaded, Unavailable
from stead_controller.room import Room

_READERS: Final = 4
_WRITERS_CACHE_KIB: Final = 8 << 10
# How many transactions share a commit, and how long the first of them may wait for those that come meanwhile.
_SHARING: Final = 16
_SHARING_SECONDS: Final = 0.03
_TRIES: Final = 8
# After which PostgreSQL ends a writing transaction that asks for nothing, as of a controller that is paused: the others
# wait for it. It is begun anew.
_MOST_IDLE_MS: Final = 1_500
# After which a server that has not let one writing transaction end, or those with which it shares a commit, hangs.
_HANGS_SECONDS: Final = 10.0
CHANNEL: Final = "stead_commits"
"""At which controllers that share a database of PostgreSQL tell each other of their commits."""
_NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', $1)"


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


class _TooLateError(Exception):
    """Whoever awaits a transaction was told that nothing comes of it."""


type CommitListener = Callable[[Wakes], None]


@dataclass(slots=True, eq=False)
class _Writing:
    """A transaction that waits for the thread that writes; it may be begun again, and is answered once.

    `tx` is what has run and is to be committed; `result` or `error` is what came of it. What `is_late` never ran. Once
    it `is_committing` nobody but the server knows whether it is committed.
    """

    function: Callable[[Transaction], Any]
    dry_run: bool
    answer: Future[Any] = field(default_factory=Future)
    tx: Transaction | None = None
    result: Any = None
    error: Exception | None = None
    is_late: bool = False
    is_committing: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give_up(self) -> None:
        """Let it not run any more, unless it has begun."""
        self.is_late = self.answer.cancel()

    def abandon(self) -> None:
        """Answer what has begun and does not end: what is not committed by now never is."""
        with self._lock:
            if not self.answer.done():
                self.answer.set_exception(Unavailable(is_known=not self.is_committing))

    def begin_to_commit(self) -> None:
        """Raise _TooLateError if it was abandoned; if it is from now on, its outcome is not known."""
        with self._lock:
            if self.answer.done():
                raise _TooLateError
            self.is_committing = True

    def tell(self, error: BaseException | None) -> None:
        """Answer with an error, or else its result, unless it was abandoned."""
        with self._lock:
            if self.answer.done():
                return
            if error is not None:
                self.answer.set_exception(error)
            else:
                self.answer.set_result(self.result)

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
        self.engine = open_engine(url, _READERS)
        self._sqlite = self.engine.dialect.name == "sqlite"
        # Opens the connection that writes, which keeps more statements than those of readers.
        self._opener = open_writers_engine(url) if self._sqlite else self.engine
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
        self._silent_since = math.inf  # when the thread that writes began what the server has not answered

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit, in the thread that committed; it must be quick and not raise.

        Those of other controllers come by `wake`, in another thread.
        """
        self._listeners.append(listener)

    def before_calls(self, herald: CommitListener) -> None:
        """Call `herald` right before each commit of a call, whose rows others may read as soon as it is done.

        It may come twice, and for a commit that fails.
        """
        self._heralds.append(herald)

    def _announce(self, tx: Wakes) -> None:
        for herald in self._heralds if tx.trace or tx.request else ():
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
        answered_within: float = math.inf,
    ) -> T:
        """Run a function in a worker thread inside one transaction and return its result.

        An `urgent` one that writes goes before the others that wait: what few hosts say must not wait for many calls.
        One that writes and has not begun `within` so many seconds is not begun; raises Overloaded then.
        With `answered_within` it raises Unavailable where the server is gone, or has hung for so long; what is not
        committed by then never is.
        """
        self._asked[writes] += 1
        answered_within = math.inf if self._sqlite else answered_within
        try:
            if writes:
                queue = self._urgent if urgent else self._waiting
                writing = _Writing(function, dry_run)
                result: T = await self._wait_to_write(writing, queue, within, answered_within)
                return result
            return await self._read(function, answered_within)
        finally:
            self._asked[writes] -= 1

    async def _read[T](self, function: Callable[[Transaction], T], answered_within: float) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(answered_within if answered_within < math.inf else None) as patience:
                return await loop.run_in_executor(self._readers, self._attempt, function, False)
        except TimeoutError:
            if patience.expired():
                raise Unavailable from None
            raise
        except DBAPIError as error:
            if answered_within < math.inf and is_away(error):
                raise Unavailable from error
            raise

    def waiting(self, *, writes: bool) -> int:
        """Return how many transactions of `run` wait for a thread or have one."""
        return self._asked[writes]

    @property
    def refused(self) -> int:
        """How many transactions were not begun, since they would have waited too long."""
        return self._refused

    def run_blocking[T](self, function: Callable[[Transaction], T], *, writes: bool = True, dry_run: bool = False) -> T:
        """Do the same as `run` in the calling thread (for programs without an event loop)."""
        return self._attempt(function, writes, dry_run=dry_run)

    def close(self) -> None:
        """Stop the threads and close the connections."""
        self._readers.shutdown()
        self._writers.shutdown()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.engine.dispose()

    async def _wait_to_write(
        self, writing: _Writing, queue: deque[_Writing], within: float, answered_within: float
    ) -> Any:
        queue.append(writing)
        self._writers.submit(self._write)
        answer = asyncio.wrap_future(writing.answer)
        if within == answered_within == math.inf:
            return await answer
        # By the clock and not in the thread that writes, which may itself wait for the database.
        later = asyncio.get_running_loop().call_later
        patience = [
            later(seconds, act)
            for seconds, act in ((within, writing.give_up), (answered_within, partial(self._lose_patience, writing)))
            if seconds < math.inf
        ]
        try:
            return await answer
        except asyncio.CancelledError:
            if not writing.is_late:
                raise
        except DBAPIError as error:
            if answered_within < math.inf and is_away(error):
                raise Unavailable(is_known=not writing.is_committing) from error
            raise
        finally:
            for each in patience:
                each.cancel()
        with contextlib.suppress(ValueError):  # the thread that writes has it already
            queue.remove(writing)
        if answered_within < math.inf and self._hangs_in() <= 0:
            raise Unavailable
        self._refused += 1
        raise Overloaded

    def _lose_patience(self, writing: _Writing) -> None:
        """Let a transaction not wait any more, once the server hangs."""
        if writing.answer.done():
            return
        if (seconds := self._hangs_in()) > 0:
            asyncio.get_running_loop().call_later(seconds, self._lose_patience, writing)
            return
        writing.give_up()
        if not writing.is_late:
            writing.abandon()

    def _hangs_in(self) -> float:
        """Return after how many seconds without an answer the server is known to hang; negative if it is."""
        now = time.monotonic()
        return min(self._silent_since, now) + _HANGS_SECONDS - now

    def _write(self) -> None:
        """Run what waits, if an earlier call did not run it with others."""
        first = self._next()
        if first is None:
            return
        self._silent_since = min(self._silent_since, time.monotonic())
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
        if writing.answer.done():  # it was begun before, with others, and abandoned
            return
        self._silent_since = min(self._silent_since, time.monotonic())
        writing.is_committing = False
        error: BaseException | None = None
        try:
            writing.result = self._attempt(writing.function, True, writing.begin_to_commit, dry_run=writing.dry_run)
        except BaseException as raised:  # it is raised to the caller that awaits the answer
            error = raised
        if not isinstance(error, DBAPIError) or not is_away(error):
            self._silent_since = math.inf
        writing.tell(error)

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
            for writing in begun or [first]:  # none has begun where there is no connection
                self._write_alone(writing)
            return
        self._silent_since = math.inf
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
                each.begin_to_commit()
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
        writing.tell(error)

    def _attempt[T](
        self,
        function: Callable[[Transaction], T],
        writes: bool,
        begin_to_commit: Callable[[], None] | None = None,
        *,
        dry_run: bool = False,
    ) -> T:
        for attempt in range(_TRIES):
            try:
                return self._once(function, writes, begin_to_commit, dry_run=dry_run)
            except _LostBeforeCommit as lost:
                if attempt + 1 == _TRIES:
                    raise lost.error from lost
                time.sleep(0.002 * 2**attempt)
            except DBAPIError as error:
                if is_full(error):
                    if self._room is not None and self._room.give_up():
                        continue
                    raise OutOfRoom from error
                if attempt + 1 == _TRIES or not asks_for_retry(error):
                    raise
                time.sleep(0.002 * 2**attempt)
        raise AssertionError("unreachable")

    def _once[T](
        self,
        function: Callable[[Transaction], T],
        writes: bool,
        begin_to_commit: Callable[[], None] | None,
        *,
        dry_run: bool,
    ) -> T:
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
            if begin_to_commit is not None:
                begin_to_commit()
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
