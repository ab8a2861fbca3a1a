"""metadata by IPv6 is an option of instances."""

import sqlalchemy as sa
from alembic import op

revision = "4b678660af19"
down_revision = "41ddb1699399"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("metadata_ipv6", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("metadata_ipv6")
