"""hibernation of instances."""

import sqlalchemy as sa
from alembic import op

revision = "e5b07c6d21f4"
down_revision = "7a41d08e52c6"
branch_labels = None
depends_on = None

_COLUMNS = ("hibernation", "hibernate_stop", "memory_saved")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("instances", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("instances", name)
