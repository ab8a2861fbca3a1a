"""whether the first IPv6 address of an interface is its primary one."""

import sqlalchemy as sa
from alembic import op

revision = "c81d5f0e27a4"
down_revision = "cbb2360ad77e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "network_interfaces", sa.Column("primary_ipv6", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("network_interfaces", "primary_ipv6")
