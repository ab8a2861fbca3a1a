"""buckets of the object store."""

import sqlalchemy as sa
from alembic import op

revision = "5e0b9c41d7f2"
down_revision = "38ef2154e7b1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "buckets",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("backend_name", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_buckets")),
        sa.UniqueConstraint("backend_name", name=op.f("uq_buckets_backend_name")),
    )
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.create_index("ix_buckets_account_id_name", ["account_id", "name"], unique=False)


def downgrade() -> None:
    op.drop_table("buckets")
