"""What refreshes have launched that does not serve yet, and when groups try again to balance their zones."""

import sqlalchemy as sa
from alembic import op

revision = "c41d7e90b2a8"
down_revision = "d3f1a85b07c9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instance_refreshes", sa.Column("unready", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("scaling_groups", sa.Column("balance_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("scaling_groups", "balance_at")
    op.drop_column("instance_refreshes", "unready")
