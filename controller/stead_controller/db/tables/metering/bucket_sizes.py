"""How much buckets keep, and until when that is billed."""

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId


class BucketSize(Base):
    """The bytes that a bucket kept when it was counted last, at `counted`; by its name on the server behind.

    `written` grows before the bucket is written to, and `seen` is what it was when the bucket was counted: if they
    differ, the bucket is to be counted again. Until `billed` all is billed but `rest`, seconds of a byte. Times are
    seconds since 1970.
    """

    __tablename__ = "bucket_sizes"

    backend_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    account_id: Mapped[str] = mapped_column(AccountId)
    bytes: Mapped[int] = mapped_column(BigInteger)
    counted: Mapped[int] = mapped_column(BigInteger)
    written: Mapped[int] = mapped_column(BigInteger)
    seen: Mapped[int] = mapped_column(BigInteger)
    billed: Mapped[int] = mapped_column(BigInteger)
    rest: Mapped[int] = mapped_column(Integer)
