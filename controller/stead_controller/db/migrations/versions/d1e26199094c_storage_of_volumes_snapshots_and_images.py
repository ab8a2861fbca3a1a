"""storage of volumes snapshots and images."""

import sqlalchemy as sa
from alembic import op

revision = "d1e26199094c"
down_revision = "4b678660af19"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blocks",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("reference_count", sa.Integer(), nullable=False),
        sa.Column("unused_since", sa.BigInteger(), nullable=True),
        sa.Column("condemned", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blocks")),
    )
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.create_index("ix_blocks_unused", ["reference_count", "unused_since"], unique=False)

    op.create_table(
        "segments",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("slots", sa.LargeBinary(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.Column("reference_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_segments")),
    )
    with op.batch_alter_table("segments", schema=None) as batch_op:
        batch_op.create_index("ix_segments_unused", ["reference_count", "digest"], unique=False)

    op.create_table(
        "image_block_devices",
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("device_name", sa.String(length=32), nullable=False),
        sa.Column("snapshot_id", sa.String(length=40), nullable=True),
        sa.Column("volume_size", sa.BigInteger(), nullable=True),
        sa.Column("volume_type", sa.String(length=16), nullable=False),
        sa.Column("iops", sa.Integer(), nullable=True),
        sa.Column("throughput", sa.Integer(), nullable=True),
        sa.Column("delete_on_termination", sa.Boolean(), nullable=False),
        sa.Column("encrypted", sa.Boolean(), nullable=False),
        sa.Column("virtual_name", sa.String(length=16), nullable=True),
        sa.Column("no_device", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_block_devices_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "device_name", name=op.f("pk_image_block_devices")),
    )
    with op.batch_alter_table("image_block_devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_block_devices_snapshot_id"), ["snapshot_id"], unique=False)

    op.create_table(
        "image_permissions",
        sa.Column("image_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_permissions_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "account_id", name=op.f("pk_image_permissions")),
    )
    with op.batch_alter_table("image_permissions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_permissions_account_id"), ["account_id"], unique=False)

    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("volume_id", sa.String(length=40), nullable=False),
        sa.Column("volume_size", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_message", sa.String(length=512), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.Column("encrypted", sa.Boolean(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("host_id", sa.String(length=40), nullable=True),
        sa.Column("parent_id", sa.String(length=40), nullable=True),
        sa.Column("set_id", sa.String(length=40), nullable=True),
        sa.Column("stored_size", sa.BigInteger(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_snapshots_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.create_index("ix_snapshots_account_id_id", ["account_id", "id"], unique=False)
        batch_op.create_index("ix_snapshots_host_id", ["host_id"], unique=False)
        batch_op.create_index("ix_snapshots_public", ["public"], unique=False)
        batch_op.create_index("ix_snapshots_volume_id", ["volume_id", "started"], unique=False)

    op.create_table(
        "storage_pools",
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("backend", sa.String(length=16), nullable=False),
        sa.Column("volume_types", sa.String(length=64), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.Column("provisioned", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_storage_pools_host_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host_id", "name", name=op.f("pk_storage_pools")),
    )
    op.create_table(
        "snapshot_permissions",
        sa.Column("snapshot_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_permissions_snapshot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "account_id", name=op.f("pk_snapshot_permissions")),
    )
    with op.batch_alter_table("snapshot_permissions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_snapshot_permissions_account_id"), ["account_id"], unique=False)

    op.create_table(
        "snapshot_segments",
        sa.Column("snapshot_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("segment_digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_digest"], ["segments.digest"], name=op.f("fk_snapshot_segments_segment_digest")
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_segments_snapshot_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "position", name=op.f("pk_snapshot_segments")),
    )
    with op.batch_alter_table("snapshot_segments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_snapshot_segments_segment_digest"), ["segment_digest"], unique=False)

    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pool", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("sealed_key", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("attached_host_id", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("export_port", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.create_index(batch_op.f("ix_volumes_attached_host_id"), ["attached_host_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("volumes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_volumes_attached_host_id"))
        batch_op.drop_column("generation")
        batch_op.drop_column("export_port")
        batch_op.drop_column("attached_host_id")
        batch_op.drop_column("sealed_key")
        batch_op.drop_column("pool")

    with op.batch_alter_table("snapshot_segments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_snapshot_segments_segment_digest"))

    op.drop_table("snapshot_segments")
    with op.batch_alter_table("snapshot_permissions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_snapshot_permissions_account_id"))

    op.drop_table("snapshot_permissions")
    op.drop_table("storage_pools")
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.drop_index("ix_snapshots_volume_id")
        batch_op.drop_index("ix_snapshots_public")
        batch_op.drop_index("ix_snapshots_host_id")
        batch_op.drop_index("ix_snapshots_account_id_id")

    op.drop_table("snapshots")
    with op.batch_alter_table("image_permissions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_permissions_account_id"))

    op.drop_table("image_permissions")
    with op.batch_alter_table("image_block_devices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_block_devices_snapshot_id"))

    op.drop_table("image_block_devices")
    with op.batch_alter_table("segments", schema=None) as batch_op:
        batch_op.drop_index("ix_segments_unused")

    op.drop_table("segments")
    with op.batch_alter_table("blocks", schema=None) as batch_op:
        batch_op.drop_index("ix_blocks_unused")

    op.drop_table("blocks")
