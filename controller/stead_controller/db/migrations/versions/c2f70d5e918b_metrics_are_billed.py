"""Metrics of detailed monitoring are billed from now on, of instances that are billed."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "c2f70d5e918b"
down_revision = "8b41d7c60e25"
branch_labels = None
depends_on = None

_METRIC = "CW:MetricMonitorUsage"
_BLOCKS = "EBS:directAPI.snapshot."
# What an older release takes for alarms, or has no unit for.
_NEW = (_METRIC, "CW:Requests", "CW:GMD-Metrics", *(f"{_BLOCKS}{name}" for name in ("Get", "List", "Put")))


def upgrade() -> None:
    meters = (
        "INSERT INTO usage_meters (resource_id, usage, account_id, operation, zone, quantity, least, began) "
        "SELECT DISTINCT m.resource_id, :usage, m.account_id, 'MetricStorage:AWS/EC2', m.zone, 7, 0, :now "
        "FROM usage_meters m JOIN instances i ON i.id = m.resource_id WHERE i.monitoring AND m.operation = 'RunInstances'"
    )
    now = int(datetime.now(UTC).timestamp())
    op.get_bind().execute(sa.text(meters), {"usage": _METRIC, "now": now})


def downgrade() -> None:
    for name in ("usage_meters", "usage_lines", "usage_amounts", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        op.get_bind().execute(sa.delete(table).where(table.c.usage.in_(_NEW)))
    counters = sa.table("usage_counters", sa.column("name"))
    op.get_bind().execute(sa.delete(counters).where(counters.c.name == _METRIC))
