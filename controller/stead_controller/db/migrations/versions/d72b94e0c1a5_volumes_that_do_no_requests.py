"""volumes that do no requests."""

import sqlalchemy as sa
from alembic import op

revision = "d72b94e0c1a5"
down_revision = "5a2c8e71d9b4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("volumes", sa.Column("stalled_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("volumes", "stalled_since")
