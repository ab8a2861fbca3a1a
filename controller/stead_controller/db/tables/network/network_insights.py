"""Network Insights paths (questions whether traffic gets through) and analyses (their results)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class NetworkInsightsPath(Base):
    """A question: does this protocol get from a source to a destination?

    `at_source_…` and `at_destination_…` are EC2's two filters of packets; ranges of ports are written `22-80`.
    """

    __tablename__ = "network_insights_paths"
    __table_args__ = (Index("ix_network_insights_paths_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    source: Mapped[str] = mapped_column(String(255))
    destination: Mapped[str | None] = mapped_column(String(255))
    source_ip: Mapped[str | None] = mapped_column(String(45))
    destination_ip: Mapped[str | None] = mapped_column(String(45))
    protocol: Mapped[str] = mapped_column(String(3))
    destination_port: Mapped[int | None] = mapped_column(Integer)
    at_source_source_address: Mapped[str | None] = mapped_column(String(45))
    at_source_source_ports: Mapped[str | None] = mapped_column(String(11))
    at_source_destination_address: Mapped[str | None] = mapped_column(String(45))
    at_source_destination_ports: Mapped[str | None] = mapped_column(String(11))
    at_destination_source_address: Mapped[str | None] = mapped_column(String(45))
    at_destination_source_ports: Mapped[str | None] = mapped_column(String(11))
    at_destination_destination_address: Mapped[str | None] = mapped_column(String(45))
    at_destination_destination_ports: Mapped[str | None] = mapped_column(String(11))
    created: Mapped[datetime]


class NetworkInsightsAnalysis(Base):
    """A result: whether a path was found, its components and the reasons why not.

    `result` is the answer as it was given, EC2's members as JSON: it says what was so then, nobody computes with it.
    """

    __tablename__ = "network_insights_analyses"
    __table_args__ = (Index("ix_network_insights_analyses_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    path_id: Mapped[str] = mapped_column(ForeignKey("network_insights_paths.id"), index=True)
    status: Mapped[str] = mapped_column(String(12))  # succeeded, failed
    status_message: Mapped[str] = mapped_column(String(2000), default="")
    path_found: Mapped[bool | None]
    result: Mapped[str] = mapped_column(Text, default="{}")
    started: Mapped[datetime]
