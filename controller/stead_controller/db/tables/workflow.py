"""Lives that go on after a request was answered."""

from datetime import datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class Workflow(Base):
    """Where a life is: the step that comes next, when, and who is at it.

    `facts` is JSON of what the life was begun with. A step is run by the controller that holds the lease, and again by
    any other once that has run out. `tries` counts failures of this step in a row, `reason` says why it waits.
    """

    __tablename__ = "workflows"
    __table_args__ = (Index("ix_workflows_due", "due"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)  # of the resource whose life it is
    kind: Mapped[str] = mapped_column(String(32))
    step: Mapped[str] = mapped_column(String(48))
    facts: Mapped[str] = mapped_column(Text)
    started: Mapped[datetime]
    due: Mapped[datetime]
    deadline: Mapped[datetime]
    lease_holder: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    reason: Mapped[str] = mapped_column(String(512), default="")
