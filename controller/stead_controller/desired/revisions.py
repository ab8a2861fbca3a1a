"""The one counter of all that hosts are told: each transaction that tells anything gets the next revision.

A host that has reached revision R has missed exactly what is later. That asks that transactions commit in the order of
their revisions, or a reader would see R and never look for the smaller one that came after: with SQLite writers follow
each other anyway; with PostgreSQL the counter's row stays locked from its increment to the end of the transaction.

A database that is put back from a backup would give the same revisions again, for other changes. So each start of a
controller leaves out revisions up to the time of day in milliseconds, and notes which: a host that has reached one of
those was told so by a later life of this database that it does not remember.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Revision, RevisionLeap

_INCREMENT: Final = Prepared(
    update(Revision).where(Revision.id == 1).values(value=Revision.value + 1).returning(Revision.value)
)
_LEAP_BEFORE: Final = Prepared(
    select(RevisionLeap.after)
    .where(RevisionLeap.before < bindparam("revision"))
    .order_by(RevisionLeap.before.desc())
    .limit(1)
)
_CURRENT: Final = Prepared(select(Revision.value).where(Revision.id == 1))


def next_revision(tx: Transaction) -> int:
    """Give the revision of this transaction, the same each time; streams are woken when it is committed."""
    if tx.revision is None:
        tx.revision = int(_INCREMENT.scalar(tx.connection, {}))
    return tx.revision


def current(tx: Transaction) -> int:
    """Give the revision of the last transaction that told hosts anything."""
    return int(_CURRENT.scalar(tx.connection, {}))


def leap(tx: Transaction, now: datetime) -> None:
    """Go on from a revision that no earlier life of this database can have given; for the start of a controller."""
    before = next_revision(tx)
    after = max(before + 1, int(now.timestamp() * 1000))
    tx.session.add(RevisionLeap(before=before, after=after))
    tx.session.execute(update(Revision).where(Revision.id == 1).values(value=after))
    tx.revision = after


def is_unknown(tx: Transaction, revision: int) -> bool:
    """Tell whether a host can have reached a revision only by a life of this database that it does not remember."""
    if revision > current(tx):
        return True
    after = _LEAP_BEFORE.scalar(tx.connection, {"revision": revision})
    return after is not None and revision < int(after)
