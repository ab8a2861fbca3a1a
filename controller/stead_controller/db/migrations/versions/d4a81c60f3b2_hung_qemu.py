"""since when the QEMU of an instance's guest has not answered."""

import sqlalchemy as sa
from alembic import op

revision = "d4a81c60f3b2"
down_revision = "d58e02f7b913"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("hung_since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "hung_since")
