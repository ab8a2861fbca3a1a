"""Dedicated Hosts: hosts that are an account's alone, each for instances of one type or of one family."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId

_ENDED = text("ended IS NOT NULL")


class DedicatedHost(Base):
    """A host as an account has it; the host has its id while it is allocated.

    It is for instances of its `instance_type`, or where that is NULL of all types of its `instance_family`. A host that
    was removed has left `host_id` NULL and the state permanent-failure.
    """

    __tablename__ = "dedicated_hosts"
    __table_args__ = (
        Index("ix_dedicated_hosts_host", "host_id", "id"),  # as wide as the account's, which SQLite prefers then
        partial_index("ix_dedicated_hosts_ended", "ended", where=_ENDED),
        Index("ix_dedicated_hosts_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    allocation_id: Mapped[str] = mapped_column(ResourceId)  # the id of the first of those that were allocated together
    host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id", ondelete="SET NULL"))
    zone: Mapped[str] = mapped_column(String(64))
    instance_type: Mapped[str | None] = mapped_column(String(32))
    instance_family: Mapped[str] = mapped_column(String(32))
    auto_placement: Mapped[bool]
    client_token: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(32))  # allocated, or how it ended
    created: Mapped[datetime]
    ended: Mapped[datetime | None]
