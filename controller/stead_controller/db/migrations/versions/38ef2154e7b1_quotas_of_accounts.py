"""quotas of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "38ef2154e7b1"
down_revision = "a84678949b73"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_usage",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_account_usage")),
    )
    op.create_table(
        "service_quotas",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("service", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "service", "code", name=op.f("pk_service_quotas")),
    )
    held = sa.table("instances", sa.column("account_id"), sa.column("vcpus"), sa.column("capacity_held"))
    usage = sa.table("account_usage", sa.column("account_id"), sa.column("name"), sa.column("value"))
    of_each = (
        sa.select(held.c.account_id, sa.literal("vcpus"), sa.func.sum(held.c.vcpus))
        .where(held.c.capacity_held.is_(sa.true()))
        .group_by(held.c.account_id)
    )
    op.execute(usage.insert().from_select(["account_id", "name", "value"], of_each))


def downgrade() -> None:
    op.drop_table("service_quotas")
    op.drop_table("account_usage")
