"""cursors of lifecycle schedules."""

import sqlalchemy as sa
from alembic import op

revision = "6c1e0d84b7f2"
down_revision = "5e0b9c41d7f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lifecycle_schedules", sa.Column("cursor", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("lifecycle_schedules", "cursor")
