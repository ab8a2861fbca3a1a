"""The lifecycle state that an instance goes to in its Auto Scaling group."""

import sqlalchemy as sa
from alembic import op

revision = "c85d20af3e71"
down_revision = "e7b15c3a9d24"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("target_lifecycle_state", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "target_lifecycle_state")
