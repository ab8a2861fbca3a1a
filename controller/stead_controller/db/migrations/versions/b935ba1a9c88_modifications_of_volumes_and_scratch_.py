"""modifications of volumes and scratch disks of instances."""

import sqlalchemy as sa
from alembic import op

revision = "b935ba1a9c88"
down_revision = "3d895a4f6117"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "instance_store_disks",
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("device_name", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instances.id"], name=op.f("fk_instance_store_disks_instance_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("instance_id", "number", name=op.f("pk_instance_store_disks")),
    )
    op.create_table(
        "volume_modifications",
        sa.Column("volume_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("original_size", sa.BigInteger(), nullable=False),
        sa.Column("original_type", sa.String(length=16), nullable=False),
        sa.Column("original_iops", sa.Integer(), nullable=True),
        sa.Column("original_throughput", sa.Integer(), nullable=True),
        sa.Column("target_size", sa.BigInteger(), nullable=False),
        sa.Column("target_type", sa.String(length=16), nullable=False),
        sa.Column("target_iops", sa.Integer(), nullable=True),
        sa.Column("target_throughput", sa.Integer(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["volumes.id"], name=op.f("fk_volume_modifications_volume_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_volume_modifications")),
    )
    with op.batch_alter_table("volume_modifications", schema=None) as batch_op:
        batch_op.create_index("ix_volume_modifications_account", ["account_id", "volume_id"], unique=False)

    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("auto_enable_io", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("full_since", sa.BigInteger(), nullable=True))
        batch_op.create_index("ix_volumes_export_port", ["host_id", "export_port"], unique=True)
    # Until now every attached volume was attached at home.
    op.execute("UPDATE volumes SET attached_host_id = host_id, generation = 1 WHERE instance_id IS NOT NULL")


def downgrade() -> None:
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_index("ix_volumes_export_port")
        batch_op.drop_column("full_since")
        batch_op.drop_column("auto_enable_io")
    with op.batch_alter_table("volume_modifications", schema=None) as batch_op:
        batch_op.drop_index("ix_volume_modifications_account")
    op.drop_table("volume_modifications")
    op.drop_table("instance_store_disks")
