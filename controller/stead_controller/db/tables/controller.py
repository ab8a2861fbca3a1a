"""Controllers that share this database, and the lease of the one that does what only one may do."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base


class ControllerRow(Base):
    """A serving process of a controller; it lives while `seen`, by the database server's clock, is recent.

    `address` is where hosts and other controllers reach its gRPC port, as HOST:PORT.
    """

    __tablename__ = "controllers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    address: Mapped[str] = mapped_column(String(255))
    seen: Mapped[int] = mapped_column(BigInteger)  # Unix milliseconds


class Lease(Base):
    """What one controller at a time may do; `token` counts the holders, so that what an earlier one writes is known."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(32))
    token: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[int] = mapped_column(BigInteger)  # Unix milliseconds, by the database server's clock
