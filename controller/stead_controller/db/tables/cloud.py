"""Facts that are set once for the cloud and stored, such as the epoch of its database."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class CloudFact(Base):
    """A fact: its name and its value."""

    __tablename__ = "cloud_facts"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(1024))
