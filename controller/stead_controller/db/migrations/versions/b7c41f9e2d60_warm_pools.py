"""Warm pools of Auto Scaling groups."""

import sqlalchemy as sa
from alembic import op

revision = "b7c41f9e2d60"
down_revision = "d2a46c9be015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "warm_pools",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("min_size", sa.Integer(), nullable=False),
        sa.Column("max_prepared", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reuse", sa.Boolean(), nullable=True),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_warm_pools_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_warm_pools")),
    )
    op.add_column("instance_refreshes", sa.Column("warm_targets", sa.Text(), nullable=True))
    op.add_column("instance_refreshes", sa.Column("warm_total", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("instance_refreshes", sa.Column("warm_left", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("instance_refreshes", "warm_left")
    op.drop_column("instance_refreshes", "warm_total")
    op.drop_column("instance_refreshes", "warm_targets")
    op.drop_table("warm_pools")
