"""Moves of volumes from hosts that are drained.

A volume's `snapshot_id` is the snapshot that its disk is laid over; of one that has moved, `origin_id` is the one that
it was made of, empty for a blank one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "a2c95f10e7d4"
down_revision = "d72b94e0c1a5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("origin_id", sa.String(40), nullable=True))
        batch_op.add_column(sa.Column("home_count", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "volume_moves",
        sa.Column("volume_id", sa.String(40), nullable=False),
        sa.Column("host_id", sa.String(40), nullable=False),
        sa.Column("snapshot_id", sa.String(40), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("start_count", sa.Integer(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.String(512), nullable=False),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_volume_moves")),
    )
    op.create_index("ix_volume_moves_host_id", "volume_moves", ["host_id"])
    make_accounts_indexes_last("volumes")


def downgrade() -> None:
    op.drop_table("volume_moves")
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_column("home_count")
        batch_op.drop_column("origin_id")


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
