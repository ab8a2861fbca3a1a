"""what guests are yet to be told: changed metadata options, and instance profiles."""

import sqlalchemy as sa
from alembic import op

revision = "6be0d41c93f7"
down_revision = "c8d2f7a41e90"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("metadata_pending", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("instance_profile_associations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=16), server_default="associated", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("instance_profile_associations", schema=None) as batch_op:
        batch_op.drop_column("state")
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("metadata_pending")
