"""Instances whose processors are measured each ten seconds."""

import sqlalchemy as sa
from alembic import op

revision = "c58e1f0b7d36"
down_revision = "b3d07f52a91e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("measured_closely", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "measured_closely")
