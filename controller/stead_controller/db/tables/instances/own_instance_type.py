"""Instance types that an operator has added."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class OwnInstanceType(Base):
    """A type of the operator's own; `document` is a family with this one size, as `catalog/families/` has them."""

    __tablename__ = "own_instance_types"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    document: Mapped[str] = mapped_column(Text)  # JSON
    created: Mapped[datetime]
