"""Launch templates and their versions."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class LaunchTemplate(Base):
    """A launch template; `latest_version` is the number of the newest version that there is."""

    __tablename__ = "launch_templates"
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        Index("ix_launch_templates_account_id_id", "account_id", "id", unique=True),
    )

    id: Mapped[str] = mapped_column(ResourceId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    name: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(2048))  # ARN
    default_version: Mapped[int] = mapped_column(Integer)
    latest_version: Mapped[int] = mapped_column(Integer)
    last_number: Mapped[int] = mapped_column(Integer)  # ever given: the numbers of deleted versions stay taken


class LaunchTemplateVersion(Base):
    """One version of a launch template: `data` is the JSON of its parameters.

    The columns after it are values of `data` that filters compare; None where it has none.
    """

    __tablename__ = "launch_template_versions"
    __table_args__ = (Index("ix_launch_template_versions_account_id_template_id", "account_id", "template_id"),)

    template_id: Mapped[str] = mapped_column(ForeignKey("launch_templates.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    description: Mapped[str] = mapped_column(String(255))
    created: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(2048))  # ARN
    data: Mapped[str] = mapped_column(Text)
    image_id: Mapped[str | None] = mapped_column(String(2048))
    instance_type: Mapped[str | None] = mapped_column(String(64))
    profile_arn: Mapped[str | None] = mapped_column(String(2048))
    ebs_optimized: Mapped[bool | None]
    http_endpoint: Mapped[str | None] = mapped_column(String(16))
    http_tokens: Mapped[str | None] = mapped_column(String(16))
