"""Tags of what is billed: the keys that accounts made active, and the values that resources had."""

import sqlalchemy as sa
from alembic import op

revision = "d3f1a85b07c9"
down_revision = "b07f1c5ea392"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cost_tags",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_cost_tags")),
    )
    op.create_table(
        "usage_tags",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", "resource_id", "began", name=op.f("pk_usage_tags")),
    )


def downgrade() -> None:
    op.drop_table("usage_tags")
    op.drop_table("cost_tags")
