"""What is used at moments, by the hour, and up to which number counters of others are billed."""

import sqlalchemy as sa
from alembic import op

revision = "f27b90d4e815"
down_revision = "d3f8a16c42b7"
branch_labels = None
depends_on = None

_NAMES = ("CPUCredits:", "DataTransfer-", "NatGateway-Bytes")  # that an older release has no unit for


def upgrade() -> None:
    op.create_table(
        "usage_amounts",
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("usage", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "usage", "operation", "hour", name=op.f("pk_usage_amounts")),
    )
    op.create_index("ix_usage_amounts_account_id_began", "usage_amounts", ["account_id", "began"], unique=False)
    op.create_index("ix_usage_amounts_began", "usage_amounts", ["began"], unique=False)
    op.create_table(
        "usage_counters",
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "name", "epoch", name=op.f("pk_usage_counters")),
    )


def downgrade() -> None:
    days = sa.table("usage_days", sa.column("usage"))
    for name in _NAMES:
        op.get_bind().execute(sa.delete(days).where(days.c.usage.startswith(name)))
    op.drop_table("usage_counters")
    op.drop_index("ix_usage_amounts_began", table_name="usage_amounts")
    op.drop_index("ix_usage_amounts_account_id_began", table_name="usage_amounts")
    op.drop_table("usage_amounts")
