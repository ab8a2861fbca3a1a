"""TPMs of images and instances, and hosts that can give them."""

import sqlalchemy as sa
from alembic import op

revision = "b61d4f0e92a7"
down_revision = "e29c3c17bc95"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Each host says it itself when it connects.
    op.add_column("hosts", sa.Column("tpm", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("images", sa.Column("tpm_support", sa.String(length=8), server_default="", nullable=False))
    op.add_column("instances", sa.Column("sealed_tpm_key", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "sealed_tpm_key")
    op.drop_column("images", "tpm_support")
    op.drop_column("hosts", "tpm")
