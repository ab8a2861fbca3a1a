"""processors and memory nodes of hosts."""

import sqlalchemy as sa
from alembic import op

revision = "8d3f5b60c2e4"
down_revision = "63b7f0f86616"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("cores", sa.Integer(), server_default="0", nullable=False))
    op.add_column("hosts", sa.Column("cpu_model", sa.String(length=128), server_default="", nullable=False))
    op.add_column("hosts", sa.Column("cpu_features", sa.String(length=8192), server_default="", nullable=False))
    op.add_column("hosts", sa.Column("numa_nodes", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    for name in ("cores", "cpu_model", "cpu_features", "numa_nodes"):
        op.drop_column("hosts", name)
