"""pools that hosts share, and where volumes were at home before."""

import sqlalchemy as sa
from alembic import op

revision = "5c9e2f81ab47"
down_revision = "e6b1d20f7a53"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("storage_pools", schema=None) as batch_op:
        batch_op.add_column(sa.Column("shared_id", sa.String(length=128), server_default="", nullable=False))
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("former_homes", sa.String(length=256), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_column("former_homes")
    with op.batch_alter_table("storage_pools", schema=None) as batch_op:
        batch_op.drop_column("shared_id")
