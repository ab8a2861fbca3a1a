"""What is remembered of an account for its burstable instances."""

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class BurstableSettings(Base):
    """One row per account that has set a mode, or whose launches were given CPU credits."""

    __tablename__ = "burstable_settings"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    default_modes: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # by family
    credited: Mapped[list[float]] = mapped_column(JSON, default=list)  # launches of the last day, in Unix seconds
