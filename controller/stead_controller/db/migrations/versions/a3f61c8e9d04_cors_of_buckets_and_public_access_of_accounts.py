"""CORS of buckets, and what their policies may not do in a whole account."""

import sqlalchemy as sa
from alembic import op

revision = "a3f61c8e9d04"
down_revision = "d94e7b1a60c2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "object_accounts",
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("public_access_block", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_object_accounts")),
    )
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cors", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.drop_column("cors")
    op.drop_table("object_accounts")
