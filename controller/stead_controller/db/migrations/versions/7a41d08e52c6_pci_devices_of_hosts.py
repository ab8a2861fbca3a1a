"""PCI devices of hosts that instances may have."""

import sqlalchemy as sa
from alembic import op

revision = "7a41d08e52c6"
down_revision = "77092c835cf9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; hosts fill it when they connect."""
    op.create_table(
        "host_devices",
        sa.Column("host_id", sa.String(40), nullable=False),
        sa.Column("address", sa.String(16), nullable=False),
        sa.Column("model", sa.String(9), nullable=False),
        sa.Column("class_code", sa.Integer(), nullable=False),
        sa.Column("iommu_group", sa.Integer(), nullable=False),
        sa.Column("driver", sa.String(64), nullable=False),
        sa.Column("numa_node", sa.Integer(), nullable=False),
        sa.Column("reset", sa.String(64), nullable=False),
        sa.Column("refusal", sa.String(255), nullable=False),
        sa.Column("instance_id", sa.String(40), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_host_devices_host_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_host_devices_instance_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("host_id", "address", name=op.f("pk_host_devices")),
    )
    op.create_index("ix_host_devices_instance", "host_devices", ["instance_id"])
    op.create_index("ix_host_devices_model", "host_devices", ["model"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("host_devices")
