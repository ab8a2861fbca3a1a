"""hosts with KVM are found first, and instance store takes room of pools."""

import sqlalchemy as sa
from alembic import op

revision = "3f9d72b6c1e8"
down_revision = "5d0c8e71b2f4"
branch_labels = None
depends_on = None

# What running instances have of instance store is in their hosts' default pools.
_TAKEN = """
    UPDATE storage_pools SET provisioned = provisioned {sign} (
        SELECT COALESCE(SUM(instance_store_disks.size), 0)
        FROM instance_store_disks JOIN instances ON instances.id = instance_store_disks.instance_id
        WHERE instances.host_id = storage_pools.host_id AND instances.capacity_held
    ) WHERE is_default
"""


def upgrade() -> None:
    op.add_column("hosts", sa.Column("accelerated", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE hosts SET accelerated = (virtualization = 'kvm')")
    op.drop_index("ix_hosts_room", "hosts")
    op.create_index("ix_hosts_room", "hosts", ["zone", "accelerated", "memory_free"], unique=False)
    op.execute(_TAKEN.format(sign="+"))


def downgrade() -> None:
    # Nothing below zero: the release before counts what is free from zero on.
    op.execute("UPDATE hosts SET cpus_free = 0 WHERE cpus_free < 0")
    op.execute("UPDATE hosts SET memory_free = 0 WHERE memory_free < 0")
    op.execute(_TAKEN.format(sign="-"))
    op.drop_index("ix_hosts_room", "hosts")
    op.create_index("ix_hosts_room", "hosts", ["zone", "memory_free"], unique=False)
    op.drop_column("hosts", "accelerated")
