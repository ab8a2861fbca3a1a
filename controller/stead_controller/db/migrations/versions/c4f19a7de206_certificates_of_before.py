"""When a host enrolled last: certificates that it was given before that are refused."""

import sqlalchemy as sa
from alembic import op

revision = "c4f19a7de206"
down_revision = "e61b0f4d93a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("certified", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("hosts", "certified")
