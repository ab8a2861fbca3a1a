"""What stopped instances have saved of what all their volumes together may do: for the host where they start next."""

import sqlalchemy as sa
from alembic import op

revision = "d6a93b15c7e0"
down_revision = "a4f08c61d7e3"
branch_labels = None
depends_on = None

_COLUMNS = ("saved_ebs_bytes", "saved_ebs_iops")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("instances", sa.Column(name, sa.Integer(), server_default="1000", nullable=False))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("instances", name)
