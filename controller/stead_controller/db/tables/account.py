"""Accounts and their access keys."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class Account(Base):
    """An isolated owner of resources, identified by 12 digits."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime]
    disabled: Mapped[bool] = mapped_column(default=False)


class AccessKey(Base):
    """An access key; its secret is sealed with the master key, since SigV4 needs it in clear.

    `user_id` is that of its user (`AIDA…`), or the account's for a root key; the time and service of its last use are
    written now and then, not at each use.
    """

    __tablename__ = "access_keys"
    __table_args__ = (Index("ix_access_keys_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    user_id: Mapped[str] = mapped_column(String(64), index=True)
    arn: Mapped[str] = mapped_column(String(256))
    secret_sealed: Mapped[bytes]
    active: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime]
    last_used: Mapped[datetime | None]
    last_used_service: Mapped[str | None] = mapped_column(String(64))
    last_used_region: Mapped[str | None] = mapped_column(String(64))
