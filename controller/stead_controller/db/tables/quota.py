"""Quotas that the operator has set, and usage that would take long to count."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class ServiceQuota(Base):
    """A quota that the operator has set, for one account or, with an empty `account_id`, for all."""

    __tablename__ = "service_quotas"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    service: Mapped[str] = mapped_column(String(32), primary_key=True)
    code: Mapped[str] = mapped_column(String(16), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class AccountUsage(Base):
    """An account's usage of a quota: `vcpus` are the vCPUs that its instances take from their hosts."""

    __tablename__ = "account_usage"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class QuotaRequest(Base):
    """An account's request for a higher quota; `requester` is the ARN of the caller."""

    __tablename__ = "quota_requests"
    __table_args__ = (
        Index("ix_quota_requests_account_id_id", "account_id", "id", unique=True),
        Index("ix_quota_requests_status_created", "status", "created"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    service: Mapped[str] = mapped_column(String(32))
    code: Mapped[str] = mapped_column(String(16))
    desired: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16))  # PENDING, APPROVED, DENIED, NOT_APPROVED
    requester: Mapped[str] = mapped_column(String(2048))
    created: Mapped[datetime]
    updated: Mapped[datetime]
