"""Topics of lifecycle hooks."""

import sqlalchemy as sa
from alembic import op

revision = "9d2e60b7f4c1"
down_revision = "7a2fd15c9e06"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lifecycle_hooks", sa.Column("topic", sa.String(length=320), nullable=True))
    op.add_column("lifecycle_hooks", sa.Column("role", sa.String(length=2048), nullable=True))


def downgrade() -> None:
    op.drop_column("lifecycle_hooks", "role")
    op.drop_column("lifecycle_hooks", "topic")
