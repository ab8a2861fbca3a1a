"""the destinations of flow logs as they were asked for."""

import sqlalchemy as sa
from alembic import op

revision = "8b3f61d02ace"
down_revision = "4a7d0c92be15"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flow_logs", sa.Column("destination", sa.String(length=2048), nullable=True))


def downgrade() -> None:
    op.drop_column("flow_logs", "destination")
