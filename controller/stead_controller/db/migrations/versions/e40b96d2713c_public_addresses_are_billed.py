"""Public addresses are billed: meters of those that there are."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "e40b96d2713c"
down_revision = "5b1e8c40d7a2"
branch_labels = None
depends_on = None

_BATCH = 500


def upgrade() -> None:
    """Bill each address as it is now: an elastic one since its allocation, an automatic one since its start."""
    connection = op.get_bind()
    meters = sa.table(
        "usage_meters",
        *(sa.column(name) for name in ("resource_id", "usage", "account_id", "operation", "zone")),
        *(sa.column(name, sa.BigInteger()) for name in ("quantity", "least", "began")),
    )
    elastic = connection.execute(
        sa.text(
            "SELECT elastic_addresses.id, elastic_addresses.account_id, elastic_addresses.created AS since, "
            "public_addresses.interface_id FROM elastic_addresses "
            "JOIN public_addresses ON public_addresses.address = elastic_addresses.address "
            "WHERE public_addresses.released IS NULL"
        )
    )
    for batch in elastic.partitions(_BATCH):
        connection.execute(sa.insert(meters), [_of_elastic(row) for row in batch])
    automatic = connection.execute(
        sa.text(
            "SELECT public_addresses.interface_id AS id, public_addresses.account_id, instances.launch_time AS since "
            "FROM public_addresses "
            "JOIN network_interfaces ON network_interfaces.id = public_addresses.interface_id "
            "JOIN instances ON instances.id = network_interfaces.instance_id "
            "WHERE public_addresses.allocation_id IS NULL AND public_addresses.released IS NULL"
        )
    )
    for batch in automatic.partitions(_BATCH):
        connection.execute(sa.insert(meters), [_meter(row, "InUseAddress", "RunInstances") for row in batch])


def downgrade() -> None:
    op.execute("DELETE FROM usage_meters WHERE usage LIKE 'PublicIPv4:%'")


def _of_elastic(row: Any) -> dict[str, Any]:
    return _meter(row, "IdleAddress" if row.interface_id is None else "InUseAddress", "AllocateAddressVPC")


def _meter(row: Any, usage: str, operation: str) -> dict[str, Any]:
    return {
        "resource_id": row.id,
        "usage": f"PublicIPv4:{usage}",
        "account_id": row.account_id,
        "operation": operation,
        "zone": "",
        "quantity": 1,
        "least": 0,
        "began": row.since // 1000,
    }
