"""names of instances."""

import sqlalchemy as sa
from alembic import op

revision = "e3a90d5c6b18"
down_revision = "3f9d72b6c1e8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("hostname_type", sa.String(length=16), server_default="ip-name", nullable=False))
        batch_op.add_column(
            sa.Column("resource_name_a_record", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch_op.add_column(
            sa.Column("resource_name_aaaa_record", sa.Boolean(), server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("resource_name_aaaa_record")
        batch_op.drop_column("resource_name_a_record")
        batch_op.drop_column("hostname_type")
