"""The counter of changes to hosts' desired state."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class Revision(Base):
    """One row: the revision of the last transaction that changed any desired state."""

    __tablename__ = "revisions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # always 1
    value: Mapped[int] = mapped_column(BigInteger)


class RevisionLeap(Base):
    """Revisions that were skipped when a controller started: this database has no changes under these numbers."""

    __tablename__ = "revision_leaps"

    before: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # the last one used
    after: Mapped[int] = mapped_column(BigInteger)  # the one from which it continued
