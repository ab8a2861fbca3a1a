"""Key pairs: the public keys."""

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class KeyPair(Base):
    """A public key by name; private keys are never stored."""

    __tablename__ = "key_pairs"
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        Index("ix_key_pairs_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(255))
    key_type: Mapped[str] = mapped_column(String(16))  # rsa, ed25519
    fingerprint: Mapped[str] = mapped_column(String(128))
    public_key: Mapped[str] = mapped_column(String(8192))  # one authorized_keys line
    created: Mapped[datetime]
