"""Dashboards of CloudWatch."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class Dashboard(Base):
    """A dashboard; `body` is the text that its owner wrote, `tags` is JSON."""

    __tablename__ = "dashboards"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    body: Mapped[str] = mapped_column(Text)
    size: Mapped[int]  # bytes of the body
    tags: Mapped[str] = mapped_column(Text)
    modified: Mapped[datetime]
