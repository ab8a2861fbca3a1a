"""dedicated hosts, and the tenancy of instances."""

import sqlalchemy as sa
from alembic import op

revision = "b7d41f60c2ae"
down_revision = "e81c47b5f2a6"
branch_labels = None
depends_on = None

_ENDED = sa.text("ended IS NOT NULL")


def upgrade() -> None:
    name = "dedicated_hosts"
    op.create_table(
        name,
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("allocation_id", sa.String(length=40), nullable=False),
        sa.Column("host_id", sa.String(length=40), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("instance_type", sa.String(length=32), nullable=True),
        sa.Column("instance_family", sa.String(length=32), nullable=False),
        sa.Column("auto_placement", sa.Boolean(), nullable=False),
        sa.Column("client_token", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name=op.f("fk_dedicated_hosts_host_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dedicated_hosts")),
    )
    op.create_index("ix_dedicated_hosts_host", name, ["host_id", "id"])
    op.create_index("ix_dedicated_hosts_ended", name, ["ended"], sqlite_where=_ENDED, postgresql_where=_ENDED)
    op.create_index("ix_dedicated_hosts_account_id_id", name, ["account_id", "id"], unique=True)
    op.add_column("hosts", sa.Column("owner_account_id", sa.String(length=12), nullable=True))
    op.add_column("hosts", sa.Column("dedicated_host_id", sa.String(length=40), nullable=True))
    op.add_column("instances", sa.Column("tenancy", sa.String(length=16), server_default="default", nullable=False))
    op.add_column("instances", sa.Column("dedicated_host_id", sa.String(length=40), nullable=True))
    op.add_column(
        "instances", sa.Column("host_affinity", sa.String(length=8), server_default="default", nullable=False)
    )
    op.add_column(
        "subnets", sa.Column("instance_tenancy", sa.String(length=16), server_default="default", nullable=False)
    )
    op.execute(
        "UPDATE subnets SET instance_tenancy = 'dedicated' "
        "WHERE vpc_id IN (SELECT id FROM vpcs WHERE instance_tenancy = 'dedicated')"
    )

    op.drop_index("ix_subnets_vpc_id", table_name="subnets")
    op.create_index("ix_subnets_vpc_id", "subnets", ["vpc_id", "id"])
    make_accounts_indexes_last("subnets")


def downgrade() -> None:
    op.drop_index("ix_subnets_vpc_id", table_name="subnets")
    op.create_index("ix_subnets_vpc_id", "subnets", ["vpc_id"])
    make_accounts_indexes_last("subnets")
    op.drop_column("subnets", "instance_tenancy")
    op.drop_column("instances", "host_affinity")
    op.drop_column("instances", "dedicated_host_id")
    op.drop_column("instances", "tenancy")
    op.drop_column("hosts", "dedicated_host_id")
    op.drop_column("hosts", "owner_account_id")
    op.drop_table("dedicated_hosts")


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
