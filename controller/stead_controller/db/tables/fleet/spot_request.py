"""Requests for Spot Instances."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base, partial_index
from stead_controller.db.types import AccountId, ResourceId

_WAITS = text("next_try IS NOT NULL")
_ENDED = text("ended IS NOT NULL")
_EXPIRES = text("expires IS NOT NULL")
_TOGETHER = text("batch_id IS NOT NULL")


class SpotRequest(Base):
    """The request for one Spot Instance; one that has an instance is forgotten with it.

    What becomes of it follows from its instance, but for `cancelled`. One without an instance waits for room, or has
    `ended`; `status` is EC2's code for that, and `fault` what was wrong with it. `specification` is the launch that one
    which waits asks for: JSON in the shape of RunInstances' parameters; requests of an account with the same launch
    have the same `shape`. One that waits has a `next_try`, and was tried `tries` times before. `batch_id` is the first
    of those that were made by one call. One that is `persistent` waits again when its instance has ended, and keeps
    what it asks for. None is launched before `valid_from`, nor from `valid_until` on; `expires` is that time as long
    as something changes then.
    """

    __tablename__ = "spot_requests"
    __table_args__ = (
        partial_index("ix_spot_requests_waiting", "created", "id", where=_WAITS),
        partial_index("ix_spot_requests_next_try", "next_try", "id", where=_WAITS),
        partial_index("ix_spot_requests_expires", "expires", "id", where=_EXPIRES),
        partial_index("ix_spot_requests_ended", "ended", "id", where=_ENDED),
        partial_index(
            "ix_spot_requests_account_shape",
            "account_id",
            "shape",
            "created",
            where=_WAITS,
        ),
        partial_index(
            "ix_spot_requests_account_batch",
            "account_id",
            "batch_id",
            where=_TOGETHER,
        ),
        Index("ix_spot_requests_account_instance", "account_id", "instance_id", unique=True),
        Index("ix_spot_requests_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    instance_id: Mapped[str | None] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime]
    cancelled: Mapped[datetime | None]
    batch_id: Mapped[str | None] = mapped_column(ResourceId)
    specification: Mapped[str | None] = mapped_column(Text)
    shape: Mapped[str | None] = mapped_column(String(64))
    vcpus: Mapped[int] = mapped_column(Integer, default=0)  # of the instance that it asks for
    status: Mapped[str | None] = mapped_column(String(40))
    status_time: Mapped[datetime | None]
    fault: Mapped[str | None] = mapped_column(Text)
    next_try: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    ended: Mapped[datetime | None]
    persistent: Mapped[bool] = mapped_column(default=False)
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    expires: Mapped[datetime | None]


class SpotRequestValue(Base):
    """One value of what a request asks for, under the name of the filter that compares it."""

    __tablename__ = "spot_request_values"

    request_id: Mapped[str] = mapped_column(ForeignKey("spot_requests.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(2048), primary_key=True)
