"""The one counter of all that hosts are told: each transaction that tells anything gets the next revision.

A host that has reached revision R has missed exactly what is later. That asks that transactions commit in the order of
their revisions, or a reader would see R and never look for the smaller one that came after: with SQLite writers follow
each other anyway; with PostgreSQL the counter's row stays locked from its increment to the end of the transaction.
"""

from typing import Final

from sqlalchemy import select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Revision

_INCREMENT: Final = Prepared(
    update(Revision).where(Revision.id == 1).values(value=Revision.value + 1).returning(Revision.value)
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
