"""ClientTokens: the result that a retried request must get instead of being done twice."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId, ResourceId


class ClientToken(Base):
    """A token used by an account for an operation, the digest of its parameters, and the result."""

    __tablename__ = "client_tokens"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    operation: Mapped[str] = mapped_column(String(64), primary_key=True)
    token: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(ResourceId)
    created: Mapped[datetime] = mapped_column(index=True)
