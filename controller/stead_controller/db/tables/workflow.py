"""Workflows that continue after a request was answered."""

from datetime import datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import ResourceId


class Workflow(Base):
    """The state of a workflow: its next step, when it is due, and which controller runs it.

    `facts` is JSON of the workflow's input. A step is run by the controller that holds the lease, and again by any
    other once the lease has expired. `tries` counts failures of this step in a row, `reason` says why it waits.
    """

    __tablename__ = "workflows"
    __table_args__ = (Index("ix_workflows_due", "due"),)

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)  # of the resource to which the workflow belongs
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
