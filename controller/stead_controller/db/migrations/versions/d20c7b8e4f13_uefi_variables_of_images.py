"""UEFI variables with which instances of an image begin."""

import sqlalchemy as sa
from alembic import op

revision = "d20c7b8e4f13"
down_revision = "b61d4f0e92a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("images", sa.Column("uefi_data", sa.LargeBinary(), nullable=True))
    op.add_column("instances", sa.Column("uefi_data", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "uefi_data")
    op.drop_column("images", "uefi_data")
