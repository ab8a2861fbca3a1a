"""hosts are read in the order of placement."""

from alembic import op
from sqlalchemy import text

revision = "2f6e91d4b8a3"
down_revision = "104f1b76a2a6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_hosts_room", "hosts")
    op.create_index("ix_hosts_room", "hosts", ["zone", "accelerated", "memory_free", "id"], unique=False)
    op.drop_index("ix_volumes_host_id", "volumes")
    op.create_index("ix_volumes_host_id", "volumes", ["host_id", "snapshot_id"], unique=False)
    make_accounts_indexes_last("volumes")


def downgrade() -> None:
    op.drop_index("ix_hosts_room", "hosts")
    op.create_index("ix_hosts_room", "hosts", ["zone", "accelerated", "memory_free"], unique=False)
    op.drop_index("ix_volumes_host_id", "volumes")
    op.create_index("ix_volumes_host_id", "volumes", ["host_id"], unique=False)
    make_accounts_indexes_last("volumes")


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
