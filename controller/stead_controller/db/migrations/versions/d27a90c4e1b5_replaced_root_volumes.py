"""replaced root volumes."""

import sqlalchemy as sa
from alembic import op

revision = "d27a90c4e1b5"
down_revision = "a2c95f10e7d4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("stores_since", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "replace_root_volume_tasks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_changed", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=512), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.Column("old_volume_id", sa.String(length=40), nullable=False),
        sa.Column("new_volume_id", sa.String(length=40), nullable=False),
        sa.Column("is_own_volume", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("delete_replaced", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("snapshot_id", sa.String(length=40), nullable=True),
        sa.Column("image_id", sa.String(length=40), nullable=True),
        sa.Column("former_image_id", sa.String(length=40), nullable=True),
        sa.Column("launch_snapshot_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replace_root_volume_tasks")),
    )
    op.create_index("ix_replace_root_volume_tasks_instance_id", "replace_root_volume_tasks", ["instance_id"])
    op.create_index(
        "ix_replace_root_volume_tasks_account_id_id", "replace_root_volume_tasks", ["account_id", "id"], unique=True
    )


def downgrade() -> None:
    op.drop_table("replace_root_volume_tasks")
    op.drop_column("instances", "stores_since")
