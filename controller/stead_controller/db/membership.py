"""Which controllers share this database, which of them leads, and what the others have committed.

A thread with a connection of its own says each half second that this controller lives, takes or renews the lead, and
hears the others' commits meanwhile (NOTIFY). All times are the database server's, so that clocks of controllers do not
matter. A controller that has not been able to say so for a while has lost the database: hosts and clients should go to
another one.

One leads: it does what time makes due for the whole cloud. It may be paused beyond its lease without noticing, so each
of its writing transactions checks the lease's token (`Fenced`): what comes late is refused. A database of SQLite has
one controller, which always leads.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from stead_controller.db import wakes
from stead_controller.db.around import Around
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import CHANNEL, Database, Transaction
from stead_controller.db.tables import Lease

_log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 0.5
"""How often a controller says that it lives."""
LEASE_SECONDS: Final = 5.0
"""After which another one leads, or takes its place among those that live."""
LOST_SECONDS: Final = 1.5
"""Without the database, after which hosts should go elsewhere."""
_CONNECT_SECONDS: Final = 2
_RETRY_SECONDS: Final = 0.2
_FORGETTING_SECONDS: Final = 60.0
_SAY_AGAIN_SECONDS: Final = 60.0  # that the database is away
_LEAD: Final = "lead"
_TAKEN: Final = """
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,
token = held.token + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END
WHERE held.holder = excluded.holder OR held.until < extract(epoch FROM clock_timestamp()) * 1000"""
_TAKE: Final = f"""
INSERT INTO leases AS held (name, holder, token, until)
VALUES (%(lead)s, %(id)s, 1, extract(epoch FROM clock_timestamp()) * 1000 + %(lease)s) {_TAKEN}
RETURNING token"""  # noqa: S608 - of constants
_OTHERS: Final = """
SELECT id, address, seen > extract(epoch FROM clock_timestamp()) * 1000 - %(lease)s AS lives FROM controllers
WHERE id <> %(id)s AND (address <> %(address)s OR address = '') ORDER BY lives DESC, address, id"""
# All of a beat is one statement, which the server has to write down once. All controllers take leases in one order.
_SAY: Final = f"""
WITH said AS (
INSERT INTO controllers (id, address, seen)
VALUES (%(id)s, %(address)s, extract(epoch FROM clock_timestamp()) * 1000)
ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, address = excluded.address
), taken AS (
INSERT INTO leases AS held (name, holder, token, until)
SELECT name, holder, 1, extract(epoch FROM clock_timestamp()) * 1000 + %(lease)s
FROM unnest(%(names)s::text[], %(holders)s::text[]) AS wanted (name, holder)
{_TAKEN} RETURNING name, token
)
SELECT (SELECT token FROM taken WHERE name = %(lead)s), id, address, lives
FROM (VALUES (1)) AS always LEFT JOIN ({_OTHERS}) AS others ON TRUE ORDER BY lives DESC, address, id"""  # noqa: S608 - of constants
_FORGET: Final = """
DELETE FROM controllers WHERE seen < extract(epoch FROM clock_timestamp()) * 1000 - 100 * %(lease)s"""
# Hosts may still try its address, where it is perhaps back soon.
_GO: Final = "UPDATE controllers SET seen = seen - %(lease)s WHERE id = %(id)s"
_GIVE_UP: Final = "UPDATE leases SET until = 0 WHERE name = %(lead)s AND holder = %(id)s"
_TOKEN: Final = Prepared(
    select(Lease.token).where(Lease.name == bindparam("name"), Lease.holder == bindparam("holder"))
)
# Of the lead under which the present task began its work.
_begun_with: ContextVar[int] = ContextVar("lead", default=0)


class ForeignStateError(Exception):
    """Another controller of this database lives, and what it has of `what` this one would not find."""

    def __init__(self, what: str) -> None:
        """Store what, as `Membership` was told."""
        super().__init__(f"another controller of this database has other {what}")
        self.what = what


class LeadLost(Exception):
    """Another controller leads, or has led since this work began: nothing of it is written."""


@dataclass(frozen=True, slots=True)
class Other:
    """Another controller, where hosts reach it, empty if it cannot say; one that does not live may come back."""

    id: str
    address: str
    lives: bool = True


class Membership:
    """This controller among those that share its database; `changed` is called in the thread when anything is new."""

    def __init__(
        self,
        database: Database,
        address: str,
        state: Mapping[str, str],
        changed: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set what others are told: where hosts reach this controller, and names of what all must share."""
        self.is_alone = database.engine.dialect.name == "sqlite"
        self._database = database
        self._changed = changed
        self._monotonic = monotonic
        self._arguments = {"id": database.id, "address": address, "lead": _LEAD, "lease": int(LEASE_SECONDS * 1000)}
        # All that have the same blocks hold, and renew, one lease: as long as any of them lives no others get it.
        self._shared = [{**self._arguments, "lead": what, "id": name} for what, name in state.items()]
        leases = [self._arguments, *self._shared]
        self._saying = self._arguments | {
            "names": [each["lead"] for each in leases],
            "holders": [each["id"] for each in leases],
        }
        self._said = monotonic()  # when the database last took it
        self._forgets = 0.0  # when it next forgets who is long gone
        self._token, self._until = 0, 0.0
        self._others: tuple[Other, ...] = ()
        self._away_said = -math.inf  # when the log last had that the database is away; before it was there: never
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def others(self) -> tuple[Other, ...]:
        """The other controllers that live, by address."""
        return tuple(each for each in self._others if each.lives)

    @property
    def rank(self) -> int:
        """How many of the others that live have an id before this controller's: no two have the same."""
        return sum(each.id < self._database.id for each in self.others)

    @property
    def addresses(self) -> list[str]:
        """Where hosts reach the other controllers, first those that live; another process of this one is none."""
        return list(dict.fromkeys(each.address for each in self._others if each.address))

    @property
    def has_database(self) -> bool:
        """Whether the database was there a moment ago; that of a controller that is always alone counts as there."""
        return self.is_alone or self.lost_in > 0

    @property
    def lost_in(self) -> float:
        """After how many seconds the database counts as lost, unless it answers meanwhile; negative if it is."""
        return self._said + LOST_SECONDS - self._monotonic()

    def leads(self) -> bool:
        """Tell whether this controller leads; what this task, and those that it begins, write is of this lead."""
        if self.is_alone:
            return True
        if self._monotonic() >= self._until:
            return False
        _begun_with.set(self._token)
        return True

    def require_lead(self, tx: Transaction, token: int) -> None:
        """Raise LeadLost unless the lead with this token is still the present one."""
        if _TOKEN.scalar(tx.connection, {"name": _LEAD, "holder": self._database.id}) != token:
            raise LeadLost(f"the lead of token {token} has ended")

    def require_same_state(self) -> None:
        """Raise ForeignStateError where another controller has other blocks, or the like, and psycopg's errors."""
        if not self.is_alone:
            with self._connection() as connection:
                for each in self._shared:
                    if connection.execute(_TAKE, each).fetchone() is None:
                        raise ForeignStateError(str(each["lead"]))

    def begin(self) -> None:
        """Begin to say that this controller lives, and to hear others."""
        if not self.is_alone:
            self._thread = threading.Thread(target=self._run, name="db-others", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Go: another one leads at once."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self._stay()
            except Exception as error:  # whatever it is: hosts are elsewhere until the database is back
                if self._monotonic() >= self._away_said + _SAY_AGAIN_SECONDS:
                    self._away_said = self._monotonic()
                    _log.warning("database_away", extra={"error": str(error).strip()})
                self._note((), 0, 0.0)
                self._ends.wait(_RETRY_SECONDS)

    def _stay(self) -> None:
        """Say and hear until the end; raises psycopg's errors when the connection breaks."""
        with self._connection() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._say(connection)
            if self._away_said > -math.inf:
                self._away_said = -math.inf
                _log.info("database_back")
            self._database.wake(wakes.everything())
            while not self._ends.is_set():
                for notification in connection.notifies(timeout=BEAT_SECONDS, stop_after=1):
                    self._hear(notification)
                if self._monotonic() - self._said >= BEAT_SECONDS:
                    self._say(connection)
            with contextlib.suppress(Exception):  # then the others wait until the lease has ended
                connection.execute(_GO, self._arguments)
                connection.execute(_GIVE_UP, self._arguments)
                is_last = not any(each.lives for each in self._look(connection))
                for each in self._shared if is_last else ():  # the next one may have others
                    connection.execute(_GIVE_UP, each)

    def _connection(self) -> Any:
        """Connect apart from the database's own connections, whose writers queue."""
        import psycopg  # noqa: PLC0415 - an extra, which a controller with SQLite does not have

        url = self._database.engine.url.set(drivername="postgresql")
        return psycopg.connect(
            url.render_as_string(hide_password=False),
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            tcp_user_timeout=int(LOST_SECONDS * 1000),  # where the server did not take what was said
            keepalives_idle=1,  # where it owes an answer
            keepalives_interval=1,
            keepalives_count=1,
        )

    def _say(self, connection: Any) -> None:
        began = self._monotonic()
        (token, *first), *more = connection.execute(_SAY, self._saying).fetchall()
        others = tuple(Other(*each) for each in (first, *(row[1:] for row in more)) if each[0] is not None)
        if token is not None and began >= self._forgets:
            connection.execute(_FORGET, self._arguments)
            self._forgets = began + _FORGETTING_SECONDS
        self._said = self._monotonic()
        self._note(others, *((token, began + LEASE_SECONDS) if token is not None else (0, 0.0)))

    def _look(self, connection: Any) -> tuple[Other, ...]:
        return tuple(Other(*found) for found in connection.execute(_OTHERS, self._arguments))

    def _note(self, others: tuple[Other, ...], token: int, until: float) -> None:
        before = (self._others, self._token)
        self._others, self._token, self._until = others, token, until
        if (others, token) != before:
            _log.info("controllers_changed", extra={"others": self.addresses, "leads": bool(token)})
            self._changed()

    def _hear(self, notification: Any) -> None:
        sender, woken = wakes.read(notification.payload)
        if sender != self._database.id:
            self._database.wake(woken)


class Fenced(Around):
    """A database whose writing transactions are refused once something else has taken the place of who writes."""

    def __init__(self, database: Database, checks: Callable[[], Callable[[Transaction], None]]) -> None:
        """Let `checks` return, in the task that runs a transaction, what raises in it if that may not write."""
        super().__init__(database)
        self._checks = checks

    def _writing[T](self, function: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        check = self._checks()

        def checked(tx: Transaction) -> T:
            check(tx)
            return function(tx)

        return checked


def led(database: Database, membership: Membership) -> Database:
    """Return what writes for the one that leads; it is called in tasks that `Membership.leads` let begin."""
    if membership.is_alone:
        return database

    def checks() -> Callable[[Transaction], None]:
        token = _begun_with.get()
        return lambda tx: membership.require_lead(tx, token)

    return Fenced(database, checks)
