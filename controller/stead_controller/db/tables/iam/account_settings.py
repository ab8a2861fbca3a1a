"""IAM's settings of accounts, their external identity providers, and the tags of all IAM resources."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class IamAccount(Base):
    """An account's alias, unique in the cloud, and its password policy (JSON as it was set)."""

    __tablename__ = "iam_accounts"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    alias: Mapped[str | None] = mapped_column(String(63), unique=True)
    password_policy: Mapped[str | None] = mapped_column(Text)


class IamCredentialReport(Base):
    """The latest credential report of an account, as CSV."""

    __tablename__ = "iam_credential_reports"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    generated: Mapped[datetime]
    content: Mapped[str] = mapped_column(Text)


class IamOidcProvider(Base):
    """An OpenID Connect issuer that an account trusts; `url` is without `https://`, the lists are JSON."""

    __tablename__ = "iam_oidc_providers"
    __table_args__ = (Index("ix_iam_oidc_providers_account_id_url", "account_id", "url", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    url: Mapped[str] = mapped_column(String(255))
    client_ids: Mapped[str] = mapped_column(Text)
    thumbprints: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]


class IamTag(Base):
    """One tag of a user, role, instance profile, managed policy or issuer."""

    __tablename__ = "iam_tags"

    resource_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    key_lower: Mapped[str] = mapped_column(String(128), primary_key=True)  # two keys differ by more than case
    key: Mapped[str] = mapped_column(String(128))
    value: Mapped[str] = mapped_column(String(256))
