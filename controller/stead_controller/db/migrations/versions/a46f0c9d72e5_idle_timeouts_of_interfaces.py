"""idle timeouts of tracked connections, chosen for an interface."""

import sqlalchemy as sa
from alembic import op

revision = "a46f0c9d72e5"
down_revision = "e3a90d5c6b18"
branch_labels = None
depends_on = None

_COLUMNS = ("tcp_established_timeout", "udp_timeout", "udp_stream_timeout")


def upgrade() -> None:
    with op.batch_alter_table("network_interfaces", schema=None) as batch_op:
        for name in _COLUMNS:
            batch_op.add_column(sa.Column(name, sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("network_interfaces", schema=None) as batch_op:
        for name in reversed(_COLUMNS):
            batch_op.drop_column(name)
