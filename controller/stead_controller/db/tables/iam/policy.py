"""Policies of IAM: managed ones with their versions, inline ones, and what they are attached to.

AWS's managed policies that come with Stead have no rows (`authorization/aws_managed/`).
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class IamPolicy(Base):
    """A customer managed policy (`ANPA…`); `last_version` is the greatest number that was ever used for a version."""

    __tablename__ = "iam_policies"
    __table_args__ = (
        Index("ix_iam_policies_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_policies_account_id_path_name_lower", "account_id", "path", "name_lower"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(128))
    name_lower: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]
    updated: Mapped[datetime]
    description: Mapped[str] = mapped_column(String(1000), default="")
    default_version: Mapped[int]
    last_version: Mapped[int]


class IamPolicyVersion(Base):
    """The content of a managed policy in one of its versions (`v3` has the number 3)."""

    __tablename__ = "iam_policy_versions"

    policy_id: Mapped[str] = mapped_column(ForeignKey("iam_policies.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[str] = mapped_column(Text)  # JSON as it was given
    created: Mapped[datetime]


class IamAttachedPolicy(Base):
    """The attachment of a managed policy to a principal: a user, group or role (`principal_type`), by its id.

    `policy_id` is empty for AWS's policies, which have no rows.
    """

    __tablename__ = "iam_attached_policies"
    __table_args__ = (
        Index("ix_iam_attached_policies_policy", "account_id", "policy_arn", "principal_type", "principal_id"),
    )

    principal_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    policy_arn: Mapped[str] = mapped_column(String(2048), primary_key=True)
    policy_id: Mapped[str | None] = mapped_column(ForeignKey("iam_policies.id"))
    principal_type: Mapped[str] = mapped_column(String(8))
    account_id: Mapped[str] = mapped_column(AccountId)


class IamInlinePolicy(Base):
    """A policy that is part of one principal."""

    __tablename__ = "iam_inline_policies"

    principal_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    document: Mapped[str] = mapped_column(Text)  # JSON as it was given
