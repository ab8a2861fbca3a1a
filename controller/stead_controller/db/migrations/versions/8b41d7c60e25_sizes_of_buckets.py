"""How much buckets keep, and until when that is billed."""

import sqlalchemy as sa
from alembic import op

revision = "8b41d7c60e25"
down_revision = "5d8e2c90b7a4"
branch_labels = None
depends_on = None

_KEPT = "TimedStorage-"  # that an older release has no unit for


def upgrade() -> None:
    op.create_table(
        "bucket_sizes",
        sa.Column("backend_name", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("billed", sa.BigInteger(), nullable=False),
        sa.Column("rest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("backend_name", name=op.f("pk_bucket_sizes")),
    )
    # Nothing is billed of a time in which nobody counted.
    op.execute(
        "INSERT INTO bucket_sizes (backend_name, name, account_id, bytes, counted, written, seen, billed, rest) "
        "SELECT backend_name, name, account_id, 0, 0, 1, 0, 0, 0 FROM buckets"
    )


def downgrade() -> None:
    for name in ("usage_amounts", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        op.get_bind().execute(sa.delete(table).where(table.c.usage.startswith(_KEPT)))
    op.drop_table("bucket_sizes")
