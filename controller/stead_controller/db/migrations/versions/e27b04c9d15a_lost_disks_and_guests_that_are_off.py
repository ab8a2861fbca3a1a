"""since when a volume's disk is lost, and an instance is off that should run."""

import sqlalchemy as sa
from alembic import op

revision = "e27b04c9d15a"
down_revision = "694bce9a88ec"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("off_since", sa.BigInteger(), nullable=True))
    op.add_column("volumes", sa.Column("lost_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("volumes", "lost_since")
    op.drop_column("instances", "off_since")
