"""accounts' indexes last."""

import sqlalchemy as sa
from alembic import op

revision = "e4b87a20c5d3"
down_revision = "5d9c1e7fa204"
branch_labels = None
depends_on = None

_PUBLIC = ("images", "snapshots")  # of which everybody may see what is public, and which were never made anew


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'index' AND name = 'ix_' || tbl_name || '_account_id_id'"
    for table in sorted(bind.execute(sa.text(query)).scalars().all()):
        if table not in _PUBLIC:
            make_accounts_indexes_last(table)


def downgrade() -> None:
    """Leave them: in which order they were made means nothing to the release before."""


def make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later.

    A table that is made anew has its indexes in an order that differs from run to run.
    """
    bind = op.get_bind()
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(sa.text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)
