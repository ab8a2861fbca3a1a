"""stops that are hastened."""

import sqlalchemy as sa
from alembic import op

revision = "5a2c8e71d9b4"
down_revision = "e4b7a2c95d18"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instances", sa.Column("hasten_stop", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("instances", "hasten_stop")
