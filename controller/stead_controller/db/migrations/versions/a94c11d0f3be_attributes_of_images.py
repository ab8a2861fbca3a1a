"""attributes of images, and each image's root disk as a block device mapping."""

import sqlalchemy as sa
from alembic import op

revision = "a94c11d0f3be"
down_revision = "339d0e5f6132"
branch_labels = None
depends_on = None

_GIB = 1 << 30


def upgrade() -> None:
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state_reason", sa.String(length=255), server_default="", nullable=False))
        batch_op.add_column(sa.Column("imds_support", sa.String(length=8), server_default="", nullable=False))
        batch_op.add_column(sa.Column("ena_support", sa.Boolean(), server_default=sa.true(), nullable=False))
        batch_op.add_column(
            sa.Column("sriov_net_support", sa.String(length=8), server_default="simple", nullable=False)
        )
        batch_op.add_column(sa.Column("deprecate_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("deregistration_protection", sa.String(length=32), server_default="disabled", nullable=False)
        )
        batch_op.add_column(sa.Column("protected_until", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("source_image_id", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("source_instance_id", sa.String(length=40), nullable=True))
    images = sa.table(
        "images",
        sa.column("id"),
        sa.column("root_device_name"),
        sa.column("snapshot_id"),
        sa.column("virtual_size", sa.BigInteger()),
    )
    devices = sa.table(
        "image_block_devices",
        sa.column("image_id"),
        sa.column("device_name"),
        sa.column("snapshot_id"),
        sa.column("volume_size", sa.BigInteger()),
        sa.column("volume_type"),
        sa.column("delete_on_termination", sa.Boolean()),
        sa.column("encrypted", sa.Boolean()),
        sa.column("no_device", sa.Boolean()),
    )
    known = op.get_bind().execute(sa.select(images)).all()
    if known:
        op.bulk_insert(
            devices,
            [
                {
                    "image_id": image.id,
                    "device_name": image.root_device_name,
                    "snapshot_id": image.snapshot_id,
                    "volume_size": -(-image.virtual_size // _GIB),
                    "volume_type": "gp3",
                    "delete_on_termination": True,
                    "encrypted": False,
                    "no_device": False,
                }
                for image in known
            ],
        )


def downgrade() -> None:
    op.execute("DELETE FROM image_block_devices")
    with op.batch_alter_table("images", schema=None) as batch_op:
        for name in (
            "source_instance_id",
            "source_image_id",
            "protected_until",
            "deregistration_protection",
            "deprecate_at",
            "sriov_net_support",
            "ena_support",
            "imds_support",
            "state_reason",
        ):
            batch_op.drop_column(name)
