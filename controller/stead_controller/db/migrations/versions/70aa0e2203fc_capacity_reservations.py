"""capacity reservations."""

import sqlalchemy as sa
from alembic import op

revision = "70aa0e2203fc"
down_revision = "d27a90c4e1b5"
branch_labels = None
depends_on = None

_ACTIVE = sa.text("state = 'active'")
_ENDED = sa.text("ended IS NOT NULL")
_IN_A_RESERVATION = sa.text("capacity_reservation_id IS NOT NULL")


def upgrade() -> None:
    _create_reservations()
    op.create_table(
        "capacity_reservation_slots",
        sa.Column("reservation_id", sa.String(length=40), nullable=False),
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_capacity_reservation_slots_host_id")),
        sa.ForeignKeyConstraint(
            ["reservation_id"],
            ["capacity_reservations.id"],
            name=op.f("fk_capacity_reservation_slots_reservation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("reservation_id", "host_id", name=op.f("pk_capacity_reservation_slots")),
    )
    op.create_index("ix_capacity_reservation_slots_host", "capacity_reservation_slots", ["host_id"])
    op.add_column("host_devices", sa.Column("capacity_reservation_id", sa.String(length=40), nullable=True))
    op.add_column("host_devices", sa.Column("reserved_slot", sa.Integer(), nullable=True))
    op.create_index("ix_host_devices_reservation", "host_devices", ["capacity_reservation_id"])
    op.add_column("instances", sa.Column("capacity_reservation_id", sa.String(length=40), nullable=True))
    op.add_column(
        "instances", sa.Column("reservation_preference", sa.String(length=32), server_default="open", nullable=True)
    )
    op.add_column("instances", sa.Column("reservation_target", sa.String(length=40), nullable=True))
    op.create_index(
        "ix_instances_account_capacity_reservation",
        "instances",
        ["account_id", "capacity_reservation_id"],
        sqlite_where=_IN_A_RESERVATION,
        postgresql_where=_IN_A_RESERVATION,
    )
    make_accounts_indexes_last("instances")


def downgrade() -> None:
    op.drop_index("ix_instances_account_capacity_reservation", "instances")
    op.drop_column("instances", "reservation_target")
    op.drop_column("instances", "reservation_preference")
    op.drop_column("instances", "capacity_reservation_id")
    op.drop_index("ix_host_devices_reservation", "host_devices")
    op.drop_column("host_devices", "reserved_slot")
    op.drop_column("host_devices", "capacity_reservation_id")
    op.drop_table("capacity_reservation_slots")
    op.drop_table("capacity_reservations")


def _create_reservations() -> None:
    name = "capacity_reservations"
    op.create_table(
        name,
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("instance_type", sa.String(length=32), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("architecture", sa.String(length=16), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("match_criteria", sa.String(length=8), nullable=False),
        sa.Column("ebs_optimized", sa.Boolean(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("instance_store", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("end_date", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capacity_reservations")),
    )
    op.create_index(
        "ix_capacity_reservations_end_date", name, ["end_date"], sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    op.create_index("ix_capacity_reservations_ended", name, ["ended"], sqlite_where=_ENDED, postgresql_where=_ENDED)
    op.create_index(
        "ix_capacity_reservations_account_active",
        name,
        ["account_id", "instance_type", "zone"],
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    op.create_index("ix_capacity_reservations_account_id_id", name, ["account_id", "id"], unique=True)


def make_accounts_indexes_last(table: str) -> None:
    """Have SQLite find rows by their account first, as `12d456e280e3` says: of two indexes it takes the one made later."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name LIKE :names"
    found = bind.execute(sa.text(query), {"table": table, "names": f"ix_{table}_account%"}).all()
    for name, statement in sorted(found, key=lambda one: (one[0].endswith("_account_id_id"), one[0])):
        op.drop_index(name, table_name=table)
        op.execute(statement)
