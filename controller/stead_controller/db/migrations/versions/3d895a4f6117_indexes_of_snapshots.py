"""indexes of snapshots."""

from alembic import op

revision = "3d895a4f6117"
down_revision = "a94c11d0f3be"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.create_index("ix_snapshots_parent_id", ["parent_id"], unique=False)
        batch_op.create_index("ix_snapshots_state", ["state"], unique=False)

    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.create_index("ix_volumes_snapshot_id", ["snapshot_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_index("ix_volumes_snapshot_id")

    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.drop_index("ix_snapshots_state")
        batch_op.drop_index("ix_snapshots_parent_id")
