"""What accounts use: meters, the ledger, and price books."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "5b1e8c40d7a2"
down_revision = "c85d20af3e71"
branch_labels = None
depends_on = None

_VOLUMES = {"gp2": ".gp2", "gp3": ".gp3", "io1": ".piops", "io2": ".io2", "st1": ".st1", "sc1": ".sc1"}
_FREE_IOPS = {"gp3": 3000, "io1": 0, "io2": 0}


def upgrade() -> None:
    op.create_table(
        "usage_meters",
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("usage", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("least", sa.Integer(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "usage", name=op.f("pk_usage_meters")),
    )
    op.create_index("ix_usage_meters_account_id_began", "usage_meters", ["account_id", "began"], unique=False)
    op.create_table(
        "usage_lines",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(length=12), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("usage", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("began", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_usage_lines")),
    )
    op.create_index("ix_usage_lines_account_id_ended", "usage_lines", ["account_id", "ended"], unique=False)
    op.create_index("ix_usage_lines_ended", "usage_lines", ["ended"], unique=False)
    op.create_table(
        "price_books",
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("valid_from", name=op.f("pk_price_books")),
    )
    _begin()


def downgrade() -> None:
    op.drop_table("price_books")
    op.drop_table("usage_lines")
    op.drop_table("usage_meters")


def _begin() -> None:
    """Bill what runs and exists as it is now, since it does; what has ended before was not recorded."""
    connection = op.get_bind()
    meters = sa.table(
        "usage_meters",
        *(sa.column(name) for name in ("resource_id", "usage", "account_id", "operation", "zone")),
        *(sa.column(name, sa.BigInteger()) for name in ("quantity", "least", "began")),
    )
    instances = connection.execute(
        sa.text(
            "SELECT id, account_id, zone, instance_type, tenancy, spot_request_id, state_changed AS since "
            "FROM instances WHERE state = 'running'"
        )
    )
    for batch in instances.partitions(500):
        connection.execute(sa.insert(meters), [_of_instance(row) for row in batch])
    volumes = connection.execute(
        sa.text(
            "SELECT id, account_id, zone, volume_type, size, iops, throughput, created AS since "
            "FROM volumes WHERE state <> 'deleting'"
        )
    )
    for batch in volumes.partitions(500):
        connection.execute(sa.insert(meters), [meter for row in batch for meter in _of_volume(row)])
    gateways = connection.execute(
        sa.text(
            "SELECT nat_gateways.id, nat_gateways.account_id, subnets.zone, nat_gateways.state_changed AS since "
            "FROM nat_gateways JOIN subnets ON subnets.id = nat_gateways.subnet_id WHERE nat_gateways.state = 'available'"
        )
    )
    for batch in gateways.partitions(500):
        rows = [_meter(row, "NatGateway-Hours", "NatGateway", 1) for row in batch]
        connection.execute(sa.insert(meters), rows)


def _of_instance(row: Any) -> dict[str, Any]:
    kinds = {"dedicated": "DedicatedUsage", "host": "HostBoxUsage"}
    kind = "SpotUsage" if row.spot_request_id is not None else kinds.get(row.tenancy, "BoxUsage")
    return _meter(row, f"{kind}:{row.instance_type}", "RunInstances", 1)


def _of_volume(row: Any) -> Iterator[dict[str, Any]]:
    suffix = _VOLUMES.get(row.volume_type, "")
    operation = f"CreateVolume-{row.volume_type.capitalize()}" if suffix else "CreateVolume"
    yield _meter(row, f"EBS:VolumeUsage{suffix}", operation, row.size)
    more = (row.iops or 0) - _FREE_IOPS.get(row.volume_type, row.iops or 0)
    if more > 0:
        yield _meter(row, f"EBS:VolumeP-IOPS{suffix}", operation, more)
    if row.volume_type == "gp3" and (row.throughput or 0) > 125:
        yield _meter(row, "EBS:VolumeP-Throughput.gp3", operation, row.throughput - 125)


def _meter(row: Any, usage: str, operation: str, quantity: int) -> dict[str, Any]:
    return {
        "resource_id": row.id,
        "usage": usage,
        "account_id": row.account_id,
        "operation": operation,
        "zone": row.zone,
        "quantity": quantity,
        "least": 0,
        "began": row.since // 1000,
    }
