"""The single counter of changes to desired state: each transaction that changes any gets the next revision.

A host that has reached revision R has missed exactly the later ones. That requires that transactions commit in the
order of their revisions, or a reader would see R and never look for a smaller one committed later: SQLite's writers run
one after the other anyway; with PostgreSQL the counter's row stays locked from its increment to the transaction's end.

A database restored from a backup would use the same revisions again, for other changes. So each start of a controller
skips the revisions up to the present time in milliseconds, and stores which: a host that has reached one of those got
it before the restore, for a change that this database does not contain.
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
    """Return the revision of this transaction, the same each time; streams are woken when it is committed."""
    if tx.revision is None:
        tx.revision = int(_INCREMENT.scalar(tx.connection, {}))
    return tx.revision


def current(tx: Transaction) -> int:
    """Return the revision of the last transaction that changed any desired state."""
    return int(_CURRENT.scalar(tx.connection, {}))


def leap(tx: Transaction, now: datetime) -> None:
    """Skip to a revision that no earlier state of this database can have used; for the start of a controller."""
    before = next_revision(tx) - 1  # the last that was used: a state that was lost may have used the next one
    after = max(before + 2, int(now.timestamp() * 1000))
    tx.session.add(RevisionLeap(before=before, after=after))
    tx.session.execute(update(Revision).where(Revision.id == 1).values(value=after))
    tx.revision = after


def is_unknown(tx: Transaction, revision: int) -> bool:
    """Tell whether a revision can only come from a state of this database that was lost by a restore."""
    if revision > current(tx):
        return True
    after = _LEAP_BEFORE.scalar(tx.connection, {"revision": revision})
    return after is not None and revision < int(after)
