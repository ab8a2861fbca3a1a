"""requests for quotas."""

import sqlalchemy as sa
from alembic import op

revision = "c8d2f7a41e90"
down_revision = "a94c7e2d18f5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quota_requests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("service", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("desired", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("requester", sa.String(length=2048), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_requests")),
    )
    op.create_index("ix_quota_requests_account_id_id", "quota_requests", ["account_id", "id"], unique=True)
    op.create_index("ix_quota_requests_status_created", "quota_requests", ["status", "created"])


def downgrade() -> None:
    op.drop_table("quota_requests")
