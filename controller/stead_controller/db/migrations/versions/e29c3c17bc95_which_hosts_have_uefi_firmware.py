"""hosts that have UEFI firmware."""

import sqlalchemy as sa
from alembic import op

revision = "e29c3c17bc95"
down_revision = "eef156e3a893"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Each host says it itself when it connects.
    op.add_column("hosts", sa.Column("uefi", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("hosts", "uefi")
