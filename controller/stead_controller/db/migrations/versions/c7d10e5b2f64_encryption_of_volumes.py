"""encryption of volumes."""

import sqlalchemy as sa
from alembic import op

revision = "c7d10e5b2f64"
down_revision = "c7d3a1f9e245"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ebs_encryption",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("by_default", sa.Boolean(), nullable=False),
        sa.Column("default_key_id", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_ebs_encryption")),
    )
    for table in ("volumes", "snapshots"):
        op.add_column(table, sa.Column("kms_key_id", sa.String(length=512), nullable=True))


def downgrade() -> None:
    encrypted = (
        "SELECT 1 FROM volumes WHERE kms_key_id IS NOT NULL UNION SELECT 1 FROM snapshots WHERE kms_key_id IS NOT NULL"
    )
    if op.get_bind().execute(sa.text(encrypted)).first() is not None:
        raise ValueError("volumes or snapshots are encrypted, which the release before cannot read: delete them before")
    for table in ("volumes", "snapshots"):
        op.drop_column(table, "kms_key_id")
    op.drop_table("ebs_encryption")
