"""Buckets of the object store; their objects are in the S3 server behind it, encrypted."""

from datetime import datetime

from sqlalchemy import Index, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class Bucket(Base):
    """A bucket of an account, by its name, which is unique among all accounts.

    `backend_name` is its name on the server behind: a name that was never used before. `public_access_block` has
    the enabled settings of that name, separated by commas; NULL when there are none. `owner_enforced` is whether there
    are ownership controls, which are always the same. `cors` is the CORSConfiguration in S3's XML, and likewise
    `encryption` is the ServerSideEncryptionConfiguration; NULL is the default of new buckets.
    """

    __tablename__ = "buckets"
    __table_args__ = (Index("ix_buckets_account_id_name", "account_id", "name"),)

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    backend_name: Mapped[str] = mapped_column(String(63), unique=True)
    state: Mapped[str] = mapped_column(String(16))  # creating, available
    created: Mapped[datetime]
    policy: Mapped[str | None] = mapped_column(Text)
    public_access_block: Mapped[str | None] = mapped_column(String(80))
    owner_enforced: Mapped[bool] = mapped_column(default=True, server_default=true())
    cors: Mapped[str | None] = mapped_column(Text)
    encryption: Mapped[str | None] = mapped_column(Text)


class ObjectKey(Base):
    """A key of 32 bytes with which the server behind seals the keys of objects; sealed by the master key."""

    __tablename__ = "object_keys"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed: Mapped[bytes]


class ObjectAccount(Base):
    """An account's PublicAccessBlock settings for all its buckets: the enabled ones, separated by commas."""

    __tablename__ = "object_accounts"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    public_access_block: Mapped[str] = mapped_column(String(80))
