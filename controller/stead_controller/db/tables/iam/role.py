"""Roles of IAM, and the instance profiles that hand them to instances."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class IamRole(Base):
    """A role (`AROA…`); sessions that were issued before `sessions_revoked_before` are no longer valid."""

    __tablename__ = "iam_roles"
    __table_args__ = (
        Index("ix_iam_roles_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_roles_account_id_path_name_lower", "account_id", "path", "name_lower"),
        Index("ix_iam_roles_account_id_boundary_arn", "account_id", "boundary_arn", "id"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(64))
    name_lower: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]
    description: Mapped[str] = mapped_column(String(1000), default="")
    trust_policy: Mapped[str] = mapped_column(Text)  # JSON as it was given
    max_session_duration: Mapped[int] = mapped_column(default=3600)  # seconds
    boundary_arn: Mapped[str | None] = mapped_column(String(2048))
    sessions_revoked_before: Mapped[datetime | None]
    last_used: Mapped[datetime | None]
    last_used_region: Mapped[str | None] = mapped_column(String(64))


class IamInstanceProfile(Base):
    """An instance profile (`AIPA…`), by which instances get a role."""

    __tablename__ = "iam_instance_profiles"
    __table_args__ = (
        Index("ix_iam_instance_profiles_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_instance_profiles_account_id_path_name_lower", "account_id", "path", "name_lower"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(128))
    name_lower: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]
    role_id: Mapped[str | None] = mapped_column(ForeignKey("iam_roles.id"), index=True)
