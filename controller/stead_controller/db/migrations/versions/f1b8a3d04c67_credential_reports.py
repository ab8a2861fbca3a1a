"""credential reports."""

import sqlalchemy as sa
from alembic import op

revision = "f1b8a3d04c67"
down_revision = "12d456e280e3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "iam_credential_reports",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("generated", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_iam_credential_reports")),
    )
    op.add_column("iam_users", sa.Column("password_changed", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("iam_users", "password_changed")
    op.drop_table("iam_credential_reports")
