"""Exports of costs to buckets, and each time that one was carried out."""

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId

ExportName = String(128)
Id = String(36)
Word = String(32)


class DataExport(Base):
    """An export; `definition` is JSON, as the request gave it (`resources/data_exports/exports.py`).

    `due` is when it is carried out next, or given up by whoever carries it out; `execution` is the one that goes on.
    `reason` says why the last one failed. `revision` changes with every change of the definition.
    """

    __tablename__ = "data_exports"
    __table_args__ = (
        Index("ix_data_exports_due_id", "due", "id"),
        Index("ix_data_exports_account_id_name", "account_id", "name", unique=True),
        Index("ix_data_exports_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(ExportName)
    definition: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    refreshed: Mapped[datetime | None]
    due: Mapped[datetime]
    execution: Mapped[str | None] = mapped_column(Id)
    reason: Mapped[str | None] = mapped_column(Word)
    revision: Mapped[int] = mapped_column(Integer)


class DataExportExecution(Base):
    """An export that is or was carried out; `definition` is that of its beginning."""

    __tablename__ = "data_export_executions"
    __table_args__ = (
        ForeignKeyConstraint(["export_id"], ["data_exports.id"], ondelete="CASCADE"),
        Index("ix_data_export_executions_export_id_created_id", "export_id", "created", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    export_id: Mapped[str] = mapped_column(Id)
    definition: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Word)
    reason: Mapped[str | None] = mapped_column(Word)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    completed: Mapped[datetime | None]
