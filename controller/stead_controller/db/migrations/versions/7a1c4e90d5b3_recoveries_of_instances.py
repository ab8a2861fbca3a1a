"""recoveries of instances."""

import sqlalchemy as sa
from alembic import op

revision = "7a1c4e90d5b3"
down_revision = "5c9e2f81ab47"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("auto_recovery", sa.Boolean(), server_default=sa.true(), nullable=False))
        batch_op.add_column(sa.Column("recoveries", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("recovery_began", sa.BigInteger(), nullable=True))
        batch_op.create_index(
            "ix_instances_recovery_began",
            ["recovery_began"],
            unique=False,
            sqlite_where=sa.text("recovery_began IS NOT NULL"),
            postgresql_where=sa.text("recovery_began IS NOT NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_index("ix_instances_recovery_began")
        batch_op.drop_column("recovery_began")
        batch_op.drop_column("recoveries")
        batch_op.drop_column("auto_recovery")
