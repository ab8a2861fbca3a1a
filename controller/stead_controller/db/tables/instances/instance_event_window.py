"""Event windows: when in a week the scheduled events of instances may be, and of which instances."""

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class InstanceEventWindow(Base):
    """A window: either time ranges, each the hours of the week at which it begins and ends, or a cron expression."""

    __tablename__ = "instance_event_windows"
    __table_args__ = (Index("ix_instance_event_windows_account_id_id", "account_id", "id", unique=True),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str | None] = mapped_column(String(255))
    time_ranges: Mapped[list[tuple[int, int]]] = mapped_column(JSON)  # hours since Sunday 00:00 UTC, without the last
    cron_expression: Mapped[str | None] = mapped_column(String(255))


class EventWindowTarget(Base):
    """What a window is for: an instance, a Dedicated Host, or the instances with a tag; each has one window at most."""

    __tablename__ = "event_window_targets"
    __table_args__ = (Index("ix_event_window_targets_window_id", "window_id", "kind", "name", "value"),)

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # instance, dedicated-host, tag
    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # the id, or the tag's key
    value: Mapped[str] = mapped_column(String(256), primary_key=True)  # of the tag; else empty
    window_id: Mapped[str] = mapped_column(ForeignKey("instance_event_windows.id", ondelete="CASCADE"))
