"""Revisions that are left out at the start of a controller."""

import sqlalchemy as sa
from alembic import op

revision = "5d0e71c9a8b4"
down_revision = "a96be002a72d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revision_leaps",
        sa.Column("before", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("before", name=op.f("pk_revision_leaps")),
    )


def downgrade() -> None:
    op.drop_table("revision_leaps")
