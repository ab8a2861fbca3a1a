"""what unclaimed resources have."""

import sqlalchemy as sa
from alembic import op

revision = "5d9c1e7fa204"
down_revision = "6b20f4d8e1a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unclaimed_resources",
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("disk", sa.BigInteger(), nullable=False),
        sa.Column("pool", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name=op.f("fk_unclaimed_resources_host_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host_id", "kind", "resource_id", name=op.f("pk_unclaimed_resources")),
    )
    op.create_table(
        "unclaimed_addresses",
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.ForeignKeyConstraint(
            ["host_id", "kind", "resource_id"],
            ["unclaimed_resources.host_id", "unclaimed_resources.kind", "unclaimed_resources.resource_id"],
            name=op.f("fk_unclaimed_addresses_host_id_kind_resource_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "host_id", "kind", "resource_id", "place", "address", name=op.f("pk_unclaimed_addresses")
        ),
    )
    op.create_index("ix_unclaimed_addresses_place_address", "unclaimed_addresses", ["place", "address"])


def downgrade() -> None:
    for host_id, vcpus, memory, disk, pool in op.get_bind().execute(
        sa.text("SELECT host_id, vcpus, memory, disk, pool FROM unclaimed_resources")
    ):
        _count_no_longer(host_id, vcpus, memory, disk, pool)
    op.drop_index("ix_unclaimed_addresses_place_address", table_name="unclaimed_addresses")
    op.drop_table("unclaimed_addresses")
    op.drop_table("unclaimed_resources")


def _count_no_longer(host_id: str, vcpus: int, memory: int, disk: int, pool: str) -> None:
    """Free the room of a resource: the release before does not count it, and would never free it."""
    bind = op.get_bind()
    bind.execute(
        sa.text(
            "UPDATE hosts SET cpus_reserved = cpus_reserved - :vcpus, cpus_free = cpus_free + :vcpus,"
            " memory_reserved = memory_reserved - :memory, memory_free = memory_free + :memory WHERE id = :host_id"
        ),
        {"host_id": host_id, "vcpus": vcpus, "memory": memory},
    )
    bind.execute(
        sa.text(
            "UPDATE storage_pools SET provisioned = provisioned - :disk"
            " WHERE host_id = :host_id AND (name = :pool OR (:pool = '' AND is_default))"
        ),
        {"host_id": host_id, "disk": disk, "pool": pool},
    )
