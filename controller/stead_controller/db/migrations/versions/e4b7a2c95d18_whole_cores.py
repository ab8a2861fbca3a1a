"""hosts have cores that instances may have alone, and huge pages."""

import sqlalchemy as sa
from alembic import op

revision = "e4b7a2c95d18"
down_revision = "3f7c2e91d6b4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and the column of a host's huge pages; hosts fill both when they connect."""
    op.add_column("hosts", sa.Column("huge_pages", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "host_cores",
        sa.Column("host_id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("numa_node", sa.Integer(), nullable=False),
        sa.Column("threads", sa.JSON(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("instance_id", sa.String(40), nullable=True),
        sa.Column("huge_pages", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_host_cores_host_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_host_cores_instance_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("host_id", "number", name=op.f("pk_host_cores")),
    )
    op.create_index("ix_host_cores_instance", "host_cores", ["instance_id"])


def downgrade() -> None:
    """Drop both."""
    op.drop_table("host_cores")
    op.drop_column("hosts", "huge_pages")
