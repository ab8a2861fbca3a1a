"""Volumes that leave hosts which are drained."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class VolumeMove(Base):
    """A volume that leaves its home `host_id`, by a snapshot of the cloud's own; what it names may be gone.

    `generation` is the volume's and `start_count` its stopped instance's when that snapshot began: while both are the
    same, nobody has written to it. `failure` says for operators why it does not move now. Without a snapshot it is
    not tried again until the host is drained again.
    """

    __tablename__ = "volume_moves"
    __table_args__ = (Index("ix_volume_moves_host_id", "host_id"),)

    volume_id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    host_id: Mapped[str] = mapped_column(ResourceId)
    snapshot_id: Mapped[str | None] = mapped_column(ResourceId)
    generation: Mapped[int] = mapped_column(BigInteger)
    start_count: Mapped[int] = mapped_column(Integer)  # 0: it was attached to nothing
    began: Mapped[datetime]
    failure: Mapped[str] = mapped_column(String(512), default="")
