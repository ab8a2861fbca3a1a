"""Instance refreshes of Auto Scaling groups."""

import sqlalchemy as sa
from alembic import op

revision = "d2a46c9be015"
down_revision = "c58e1f0b7d36"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scaling_groups", sa.Column("refreshing", sa.Text(), nullable=True))
    op.create_table(
        "instance_refreshes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("preferences", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=True),
        sa.Column("targets", sa.Text(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("checkpoint", sa.Integer(), nullable=False),
        sa.Column("resumes", sa.BigInteger(), nullable=True),
        sa.Column("progressed", sa.BigInteger(), nullable=False),
        sa.Column("rollback", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["scaling_groups.id"], name=op.f("fk_instance_refreshes_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance_refreshes")),
    )
    op.create_index(
        "ix_instance_refreshes_group_id_started_id", "instance_refreshes", ["group_id", "started", "id"], unique=False
    )
    op.create_index("ix_instance_refreshes_started_id", "instance_refreshes", ["started", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("instance_refreshes")
    op.drop_column("scaling_groups", "refreshing")
