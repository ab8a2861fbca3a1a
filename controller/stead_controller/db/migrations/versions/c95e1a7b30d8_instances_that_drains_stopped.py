"""instances that drains have stopped are found by an index."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "c95e1a7b30d8"
down_revision = "8d3f5b60c2e4"
branch_labels = None
depends_on = None

_ONLY = sa.text("state_reason_code = 'Server.ScheduledStop'")


def upgrade() -> None:
    op.create_index(
        "ix_instances_scheduled_stop",
        "instances",
        ["state_reason_code", "state"],
        unique=False,
        sqlite_where=_ONLY,
        postgresql_where=_ONLY,
    )
    make_accounts_indexes_last("instances")


def downgrade() -> None:
    op.drop_index("ix_instances_scheduled_stop", "instances")


def make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)
