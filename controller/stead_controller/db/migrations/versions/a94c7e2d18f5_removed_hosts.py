"""removed hosts are remembered."""

import sqlalchemy as sa
from alembic import op

revision = "a94c7e2d18f5"
down_revision = "f1b8a3d04c67"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removed_hosts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removed_hosts")),
    )


def downgrade() -> None:
    op.drop_table("removed_hosts")
