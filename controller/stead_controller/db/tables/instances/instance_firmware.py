"""What stopped instances of UEFI had stored beside their volumes."""

from sqlalchemy import ForeignKey, false
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class InstanceFirmware(Base):
    """What an instance's guest had stored when a start had ended, until it runs again.

    The state of a TPM is encrypted with the instance's TPM key.
    """

    __tablename__ = "instance_firmware"

    instance_id: Mapped[str] = mapped_column(
        ResourceId, ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True
    )
    start_count: Mapped[int]  # of the start that had ended
    variables: Mapped[bytes]  # zlib of the variable store
    tpm: Mapped[bytes]  # empty: it has none
    is_moved: Mapped[bool] = mapped_column(default=False, server_default=false())  # no host is sure to have it
