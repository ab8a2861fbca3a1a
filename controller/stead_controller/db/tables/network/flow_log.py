"""Flow logs."""

from datetime import datetime

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class FlowLog(Base):
    """A log of the flows of a VPC, a subnet or an interface, written to a folder of files on the hosts.

    `resource_id` is no foreign key: the log of a deleted subnet or interface remains until it, or the VPC, is deleted.
    """

    __tablename__ = "flow_logs"
    __table_args__ = (Index("ix_flow_logs_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    vpc_id: Mapped[str] = mapped_column(ResourceId, index=True)
    resource_id: Mapped[str] = mapped_column(ResourceId, index=True)
    resource_type: Mapped[str] = mapped_column(String(24))  # VPC, Subnet, NetworkInterface
    traffic_type: Mapped[str] = mapped_column(String(8))  # ACCEPT, REJECT, ALL
    log_group_name: Mapped[str] = mapped_column(String(512))
    destination: Mapped[str | None] = mapped_column(String(2048))  # the log group's ARN if one was requested
    log_format: Mapped[str] = mapped_column(String(2048))
    aggregation_seconds: Mapped[int] = mapped_column(Integer)
    permission_arn: Mapped[str | None] = mapped_column(String(2048))
    created: Mapped[datetime]
