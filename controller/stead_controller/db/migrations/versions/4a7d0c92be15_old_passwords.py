"""passwords that must not be had again."""

import sqlalchemy as sa
from alembic import op

revision = "4a7d0c92be15"
down_revision = "6be0d41c93f7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "iam_old_passwords",
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["iam_users.id"], name=op.f("fk_iam_old_passwords_user_id_iam_users")),
        sa.PrimaryKeyConstraint("user_id", "number", name=op.f("pk_iam_old_passwords")),
    )


def downgrade() -> None:
    op.drop_table("iam_old_passwords")
