"""which volumes an instance had when it was started."""

import sqlalchemy as sa
from alembic import op

revision = "9c3e51d70a84"
down_revision = "a3f61c8e9d04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("ebs_at_start", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("instances", "ebs_at_start")
