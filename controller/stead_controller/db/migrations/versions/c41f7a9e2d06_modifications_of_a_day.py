"""modifications of a day."""

import sqlalchemy as sa
from alembic import op

revision = "c41f7a9e2d06"
down_revision = "9b4c61d7e0f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "volume_modifications", sa.Column("earlier", sa.String(length=128), server_default="", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("volume_modifications", "earlier")
