"""Interface endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "b7e40c1d93a2"
down_revision = "c81e5d2f9a07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("vpc_endpoints", schema=None) as batch_op:
        batch_op.add_column(sa.Column("private_dns", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "vpc_endpoint_interfaces",
        sa.Column("interface_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("subnet_id", sa.String(length=40), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("host_id", sa.String(length=40), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("host_error", sa.String(length=2048), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["vpc_endpoints.id"], name=op.f("fk_vpc_endpoint_interfaces_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_vpc_endpoint_interfaces_host_id")),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnets.id"], name=op.f("fk_vpc_endpoint_interfaces_subnet_id")),
        sa.PrimaryKeyConstraint("interface_id", name=op.f("pk_vpc_endpoint_interfaces")),
    )
    with op.batch_alter_table("vpc_endpoint_interfaces", schema=None) as batch_op:
        for column in ("endpoint_id", "host_id", "state", "subnet_id"):
            batch_op.create_index(batch_op.f(f"ix_vpc_endpoint_interfaces_{column}"), [column], unique=False)
    op.create_table(
        "vpc_endpoint_groups",
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("group_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["vpc_endpoints.id"],
            name=op.f("fk_vpc_endpoint_groups_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["group_id"], ["security_groups.id"], name=op.f("fk_vpc_endpoint_groups_group_id")),
        sa.PrimaryKeyConstraint("endpoint_id", "group_id", name=op.f("pk_vpc_endpoint_groups")),
    )
    with op.batch_alter_table("vpc_endpoint_groups", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vpc_endpoint_groups_group_id"), ["group_id"], unique=False)


def downgrade() -> None:
    query = "SELECT 1 FROM vpc_endpoints WHERE endpoint_type = 'Interface'"
    if op.get_bind().execute(sa.text(query)).first() is not None:
        raise ValueError("there are interface endpoints, which the release before would take for others: delete them")
    with op.batch_alter_table("vpc_endpoint_groups", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vpc_endpoint_groups_group_id"))
    op.drop_table("vpc_endpoint_groups")
    with op.batch_alter_table("vpc_endpoint_interfaces", schema=None) as batch_op:
        for column in ("subnet_id", "state", "host_id", "endpoint_id"):
            batch_op.drop_index(batch_op.f(f"ix_vpc_endpoint_interfaces_{column}"))
    op.drop_table("vpc_endpoint_interfaces")
    with op.batch_alter_table("vpc_endpoints", schema=None) as batch_op:
        batch_op.drop_column("private_dns")
