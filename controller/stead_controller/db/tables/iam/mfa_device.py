"""Virtual MFA devices of IAM."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class IamMfaDevice(Base):
    """A virtual device, named by its ARN as a serial number; with `user_id` it is that user's second factor.

    `seed_sealed` is the secret of its codes, `drift` how many steps its clock is ahead, `last_step` the latest step
    whose code was accepted, so that no code is accepted twice (`resources/iam/totp.py`).
    """

    __tablename__ = "iam_mfa_devices"
    __table_args__ = (
        Index("ix_iam_mfa_devices_account_id_name_lower", "account_id", "name_lower", unique=True),
        Index("ix_iam_mfa_devices_user_id", "user_id", "name_lower"),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(226))
    name_lower: Mapped[str] = mapped_column(String(226))
    path: Mapped[str] = mapped_column(String(512))
    created: Mapped[datetime]
    seed_sealed: Mapped[bytes]
    user_id: Mapped[str | None] = mapped_column(ResourceId)
    enabled: Mapped[datetime | None]
    drift: Mapped[int] = mapped_column(default=0)
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
