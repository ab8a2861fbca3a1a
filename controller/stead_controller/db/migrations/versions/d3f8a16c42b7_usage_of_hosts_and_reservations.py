"""Dedicated Hosts and the unused slots of capacity reservations are billed; those that there are since now."""

import time

import sqlalchemy as sa
from alembic import op

revision = "d3f8a16c42b7"
down_revision = "a94f03c7e15d"
branch_labels = None
depends_on = None

_HOSTS = """
INSERT INTO usage_meters (resource_id, usage, account_id, operation, zone, quantity, least, began)
SELECT id, 'HostUsage:' || instance_family, account_id, 'RunInstances', zone, 1, 0, :now
FROM dedicated_hosts WHERE state = 'allocated'
"""
_RESERVATIONS = """
INSERT INTO usage_meters (resource_id, usage, account_id, operation, zone, quantity, least, began)
SELECT one.id, 'UnusedBox:' || one.instance_type, one.account_id, 'RunInstances', one.zone,
       SUM(slots.slots - slots.used), 0, :now
FROM capacity_reservations AS one
JOIN capacity_reservation_slots AS slots ON slots.reservation_id = one.id
WHERE one.state = 'active'
GROUP BY one.id, one.instance_type, one.account_id, one.zone
HAVING SUM(slots.slots - slots.used) > 0
"""


def upgrade() -> None:
    connection = op.get_bind()
    for statement in (_HOSTS, _RESERVATIONS):
        connection.execute(sa.text(statement), {"now": int(time.time())})


def downgrade() -> None:
    for name in ("usage_meters", "usage_lines", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        new = table.c.usage.like("HostUsage:%") | table.c.usage.like("UnusedBox:%")
        op.get_bind().execute(sa.delete(table).where(new))
