"""Which snapshots need blocks that are damaged."""

import sqlalchemy as sa
from alembic import op

revision = "5d0c8e71b2f4"
down_revision = "5d0e71c9a8b4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot_damage",
        sa.Column("snapshot_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_damage_snapshot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "digest", name=op.f("pk_snapshot_damage")),
    )
    with op.batch_alter_table("snapshot_damage", schema=None) as batch_op:
        batch_op.create_index("ix_snapshot_damage_digest", ["digest"], unique=False)


def downgrade() -> None:
    # To a release that knows of no damage they would have failed, and lose their blocks.
    op.execute(
        "UPDATE snapshots SET state = 'completed', state_message = '' "
        "WHERE state = 'error' AND id IN (SELECT snapshot_id FROM snapshot_damage)"
    )
    op.execute("UPDATE images SET state = 'available', state_reason = '' WHERE state = 'error'")
    with op.batch_alter_table("snapshot_damage", schema=None) as batch_op:
        batch_op.drop_index("ix_snapshot_damage_digest")

    op.drop_table("snapshot_damage")
