"""Which certificates of before a host enrolled again are admitted still, until all that runs on it has others."""

import sqlalchemy as sa
from alembic import op

revision = "b90c2e6d41fa"
down_revision = "d3a86c0f71be"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("former_enrolment", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("hosts", "former_enrolment")
