"""CPU credits that stopped instances have saved: for the host where they start next."""

import sqlalchemy as sa
from alembic import op

revision = "c4e19a70d2b6"
down_revision = "e5b07c6d21f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("saved_credits", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "saved_credits")
