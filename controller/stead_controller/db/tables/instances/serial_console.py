"""Who may use serial consoles by SSH: accounts that allow it, and keys that were pushed for a minute."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class SerialConsoleAccess(Base):
    """One row for each account that allows its instances' serial consoles to be used."""

    __tablename__ = "serial_console_access"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)


class SerialConsoleKey(Base):
    """A public key that opens an instance's serial console until it expires."""

    __tablename__ = "serial_console_keys"

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(128), primary_key=True)
    public_key: Mapped[str] = mapped_column(String(8192))  # one authorized_keys line
    expires: Mapped[datetime] = mapped_column(index=True)
