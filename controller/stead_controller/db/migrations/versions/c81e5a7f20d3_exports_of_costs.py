"""Exports of costs to buckets."""

import sqlalchemy as sa
from alembic import op

revision = "c81e5a7f20d3"
down_revision = "c6e81d2f3b97"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_exports",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("refreshed", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("execution", sa.String(length=36), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_exports")),
    )
    op.create_index("ix_data_exports_due_id", "data_exports", ["due", "id"], unique=False)
    op.create_index("ix_data_exports_account_id_name", "data_exports", ["account_id", "name"], unique=True)
    op.create_index("ix_data_exports_account_id_id", "data_exports", ["account_id", "id"], unique=True)
    op.create_table(
        "data_export_executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("export_id", sa.String(length=36), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["export_id"], ["data_exports.id"], name=op.f("fk_data_export_executions_export_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_export_executions")),
    )
    op.create_index(
        "ix_data_export_executions_export_id_created_id",
        "data_export_executions",
        ["export_id", "created", "id"],
        unique=False,
    )


def downgrade() -> None:
    for name in ("data_export_executions", "data_exports"):
        op.drop_table(name)
