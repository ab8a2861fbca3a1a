"""Alarms are billed; those that there are as they are, since they were last changed."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0c6e5b7fa293"
down_revision = "c81e5a7f20d3"
branch_labels = None
depends_on = None

_ALARMS = """
SELECT alarms.account_id, alarms.name, alarms.rule, alarms.definition, alarms.configured,
       (SELECT COUNT(*) FROM alarm_metrics AS one WHERE one.account_id = alarms.account_id AND one.alarm = alarms.name)
           AS metrics
FROM alarms
WHERE alarms.state IN ('OK', 'ALARM', 'INSUFFICIENT_DATA')
"""


def upgrade() -> None:
    meters = sa.table(
        "usage_meters",
        *(sa.column(name) for name in ("resource_id", "usage", "account_id", "operation", "zone")),
        *(sa.column(name, sa.BigInteger()) for name in ("quantity", "least", "began")),
    )
    connection = op.get_bind()
    for batch in connection.execute(sa.text(_ALARMS)).partitions(500):
        connection.execute(sa.insert(meters), [_meter(row) for row in batch])


def downgrade() -> None:
    for name in ("usage_meters", "usage_lines", "usage_days", "usage_tag_days"):
        table = sa.table(name, sa.column("usage"))
        op.get_bind().execute(sa.delete(table).where(table.c.usage.like("CW:%")))


def _meter(row: Any) -> dict[str, Any]:
    digest = hashlib.sha256(f"{row.account_id}/{row.name}".encode()).hexdigest()
    usage = "CW:CompositeAlarmMonitorUsage"
    if row.rule is None:
        usage = "CW:AlarmMonitorUsage" if _period(json.loads(row.definition)) >= 60 else "CW:HighResAlarmMonitorUsage"
    return {
        "resource_id": f"alarm-{digest[:34]}",
        "usage": usage,
        "account_id": row.account_id,
        "operation": "Unknown",
        "zone": "",
        "quantity": max(1, row.metrics),
        "least": 0,
        "began": row.configured // 1000,
    }


def _period(definition: dict[str, Any]) -> int:
    if definition["measure"] is not None:
        return int(definition["measure"]["period"])
    queries = definition["queries"]
    return max(int(one["measure"]["period"] if one["measure"] else one["period"] or 1) for one in queries)
