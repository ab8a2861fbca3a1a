"""Days of the ledger: what its lines amount to in each; those that there are are counted by and by."""

import sqlalchemy as sa
from alembic import op

revision = "e6c07d94b1a3"
down_revision = "c41d7e90b2a8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("usage", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", "usage", "operation", "zone", name=op.f("pk_usage_days")),
    )
    op.create_index("ix_usage_days_day", "usage_days", ["day"], unique=False)
    op.create_table(
        "usage_days_mark",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_days_mark")),
    )


def downgrade() -> None:
    op.drop_table("usage_days_mark")
    op.drop_index("ix_usage_days_day", table_name="usage_days")
    op.drop_table("usage_days")
