"""Days of the ledger by tags; the lines that there are are counted by and by."""

import sqlalchemy as sa
from alembic import op

revision = "a94f03c7e15d"
down_revision = "b7d2f4a91c60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_tag_days",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("tag_key", sa.String(length=128), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("usage", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("tag_value", sa.String(length=256), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "tag_key", "day", "usage", "operation", "zone", "tag_value", name=op.f("pk_usage_tag_days")
        ),
    )
    op.create_index("ix_usage_tag_days_tag_key_day", "usage_tag_days", ["tag_key", "day"], unique=False)


def downgrade() -> None:
    op.execute("DELETE FROM usage_days_mark WHERE id = 2")  # an upgrade makes the table anew, and counts all lines
    op.drop_index("ix_usage_tag_days_tag_key_day", table_name="usage_tag_days")
    op.drop_table("usage_tag_days")
