"""Up to where files of records of calls are billed."""

import sqlalchemy as sa
from alembic import op

revision = "5d8e2c90b7a4"
down_revision = "0c6e5b7fa293"
branch_labels = None
depends_on = None

_REQUESTS = "Requests-"  # that an older release has no unit for


def upgrade() -> None:
    op.create_table(
        "usage_files",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_usage_files")),
    )


def downgrade() -> None:
    for name in ("usage_amounts", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        op.get_bind().execute(sa.delete(table).where(table.c.usage.startswith(_REQUESTS)))
    op.drop_table("usage_files")
