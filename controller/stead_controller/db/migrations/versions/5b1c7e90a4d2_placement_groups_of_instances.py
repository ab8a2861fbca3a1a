"""placement groups of instances."""

import sqlalchemy as sa
from alembic import op

revision = "5b1c7e90a4d2"
down_revision = "c4e19a70d2b6"
branch_labels = None
depends_on = None

_IN_A_GROUP = sa.text("placement_group_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("instances", sa.Column("placement_group_id", sa.String(length=40), nullable=True))
    op.add_column(
        "instances", sa.Column("placement_group_name", sa.String(length=255), server_default="", nullable=False)
    )
    op.add_column("instances", sa.Column("partition_number", sa.Integer(), nullable=True))
    op.create_index(
        "ix_instances_account_placement_group",
        "instances",
        ["account_id", "placement_group_id"],
        unique=False,
        sqlite_where=_IN_A_GROUP,
        postgresql_where=_IN_A_GROUP,
    )
    make_accounts_indexes_last("instances")


def downgrade() -> None:
    op.drop_index("ix_instances_account_placement_group", "instances")
    op.drop_column("instances", "partition_number")
    op.drop_column("instances", "placement_group_name")
    op.drop_column("instances", "placement_group_id")


def make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(sa.text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)
