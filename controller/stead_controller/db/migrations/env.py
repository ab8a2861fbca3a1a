"""Alembic's entry: run the migrations on the connection that `migrate.py` gives."""

from typing import Any, Literal

from alembic import context

from stead_controller.db.tables import Base
from stead_controller.db.tables.base import complete_for_postgresql
from stead_controller.db.types import UtcTime


def render_item(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """Write our column types as the plain types they are in the database, so that old steps need none of our code."""
    if kind == "type" and isinstance(item, UtcTime):
        return "sa.BigInteger()"
    return False


complete_for_postgresql(Base.metadata)
connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item)
with context.begin_transaction():
    context.run_migrations()
