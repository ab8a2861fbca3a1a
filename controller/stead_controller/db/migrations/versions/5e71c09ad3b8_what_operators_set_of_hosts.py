"""what operators set for hosts, and what hosts offer: what is free is derived."""

import sqlalchemy as sa
from alembic import op

revision = "5e71c09ad3b8"
down_revision = "2f6e91d4b8a3"
branch_labels = None
depends_on = None

_FREE = (
    ("cpus", sa.Integer(), "cpus_free + cpus_reserved", "cpus_offered - cpus_reserved"),
    ("memory", sa.BigInteger(), "memory_free + memory_reserved", "memory_offered - memory_reserved"),
)
_HOSTS = sa.table("hosts", *(sa.column(f"{name}_{what}") for name, *_ in _FREE for what in ("free", "offered")))
_SET = ("draining", "labels", "overcommit_cpus", "overcommit_memory", "reserve_memory")


def upgrade() -> None:
    op.drop_index("ix_hosts_room", "hosts")
    op.add_column("hosts", sa.Column("draining", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("hosts", sa.Column("labels", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("hosts", sa.Column("overcommit_cpus", sa.Float(), nullable=True))
    op.add_column("hosts", sa.Column("overcommit_memory", sa.Float(), nullable=True))
    op.add_column("hosts", sa.Column("reserve_memory", sa.BigInteger(), nullable=True))
    stored = op.get_bind().dialect.name == "postgresql" or None  # which has no others before its release 18
    for name, kind, offered, free in _FREE:
        op.add_column("hosts", sa.Column(f"{name}_offered", kind, server_default="0", nullable=False))
        op.execute(_HOSTS.update().values({f"{name}_offered": sa.text(offered)}))
        op.drop_column("hosts", f"{name}_free")
        op.add_column("hosts", sa.Column(f"{name}_free", kind, sa.Computed(free, stored), nullable=False))
    op.create_index("ix_hosts_room", "hosts", ["zone", "accelerated", "memory_free", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_hosts_room", "hosts")
    for name, kind, _, free in _FREE:
        op.drop_column("hosts", f"{name}_free")
        op.add_column("hosts", sa.Column(f"{name}_free", kind, server_default="0", nullable=False))
        op.execute(_HOSTS.update().values({f"{name}_free": sa.text(free)}))
        op.drop_column("hosts", f"{name}_offered")
    for name in _SET:
        op.drop_column("hosts", name)
    op.create_index("ix_hosts_room", "hosts", ["zone", "accelerated", "memory_free", "id"], unique=False)
