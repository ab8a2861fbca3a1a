"""copies and writers of blocks."""

import sqlalchemy as sa
from alembic import op

revision = "339d0e5f6132"
down_revision = "d1e26199094c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "condemned_blocks",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("copy", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("digest", "copy", name=op.f("pk_condemned_blocks")),
    )
    op.create_table(
        "written_blocks",
        sa.Column("snapshot_id", sa.String(length=40), nullable=False),
        sa.Column("block_index", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_written_blocks_snapshot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "block_index", name=op.f("pk_written_blocks")),
    )
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("copy", sa.String(length=12), nullable=False))
        batch_op.drop_column("condemned")

    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.add_column(sa.Column("write_timeout", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("last_written", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("ended", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.drop_column("ended")
        batch_op.drop_column("last_written")
        batch_op.drop_column("write_timeout")

    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("condemned", sa.BIGINT(), nullable=True))
        batch_op.drop_column("copy")

    op.drop_table("written_blocks")
    op.drop_table("condemned_blocks")
