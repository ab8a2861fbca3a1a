"""Instance profiles of instances, and the present credentials of their roles' sessions."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class InstanceProfileAssociation(Base):
    """The association of an instance with an instance profile, and the data of the credentials for its guest.

    `code` is empty while the guest gets none. The session token contains the secret key, sealed. At `due` the
    credentials are to be renewed, after a check of the role and the profile's end; None while the instance is off.
    """

    __tablename__ = "instance_profile_associations"
    __table_args__ = (
        Index("ix_instance_profile_associations_account_id_id", "account_id", "id", unique=True),
        Index("ix_instance_profile_associations_account_id_instance_id", "account_id", "instance_id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_id: Mapped[str] = mapped_column(ResourceId, unique=True)
    profile_id: Mapped[str] = mapped_column(ResourceId, index=True)
    profile_arn: Mapped[str] = mapped_column(String(2048))
    profile_name: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="associated", server_default="associated")  # or associating
    code: Mapped[str] = mapped_column(String(64), default="")
    role_name: Mapped[str] = mapped_column(String(64), default="")
    access_key_id: Mapped[str] = mapped_column(String(32), default="")
    session_token: Mapped[str] = mapped_column(Text, default="")
    updated: Mapped[datetime | None]
    expires: Mapped[datetime | None]
    due: Mapped[datetime | None] = mapped_column(index=True)
