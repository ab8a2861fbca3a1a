"""Users of IAM and the groups that they are in."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class IamUser(Base):
    """A user (`AIDA…`); names are unique per account whatever their case. Without `password_hash` no login profile."""

    __tablename__ = "iam_users"
    __table_args__ = (
        Index("ix_iam_users_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_users_account_id_path_name_lower", "account_id", "path", "name_lower"),
        Index("ix_iam_users_account_id_boundary_arn", "account_id", "boundary_arn", "id"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(64))
    name_lower: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]
    boundary_arn: Mapped[str | None] = mapped_column(String(2048))
    password_hash: Mapped[str | None] = mapped_column(String(256))
    password_reset_required: Mapped[bool] = mapped_column(default=False)
    password_created: Mapped[datetime | None]
    password_changed: Mapped[datetime | None]  # None: not since it was created
    password_last_used: Mapped[datetime | None]


class IamOldPassword(Base):
    """The hash of a user's former password, numbered in order, while it must not be used again."""

    __tablename__ = "iam_old_passwords"

    user_id: Mapped[str] = mapped_column(ForeignKey("iam_users.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(256))


class IamGroup(Base):
    """A group of users (`AGPA…`)."""

    __tablename__ = "iam_groups"
    __table_args__ = (
        Index("ix_iam_groups_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_groups_account_id_path_name_lower", "account_id", "path", "name_lower"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(128))
    name_lower: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]


class IamGroupMember(Base):
    """The membership of a user in a group."""

    __tablename__ = "iam_group_members"

    group_id: Mapped[str] = mapped_column(ForeignKey("iam_groups.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("iam_users.id"), primary_key=True, index=True)
