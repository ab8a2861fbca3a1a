"""hosts that run guests of other architectures than their own, and imports of such images."""

import sqlalchemy as sa
from alembic import op

revision = "5d0a97c3e41b"
down_revision = "d6a93b15c7e0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("emulates", sa.String(length=64), server_default="", nullable=False))
    op.add_column(
        "image_tasks", sa.Column("architecture", sa.String(length=16), server_default="x86_64", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("image_tasks", "architecture")
    op.drop_column("hosts", "emulates")
