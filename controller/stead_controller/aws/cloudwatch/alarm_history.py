"""DescribeAlarmHistory."""

from datetime import datetime
from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import Unsupported
from stead_controller.resources.metrics import alarm_history
from stead_controller.resources.metrics.alarm_history import Search

_PAGE: Final = 100
_TYPES: Final = {"MetricAlarm": False, "CompositeAlarm": True}


@operation("DescribeAlarmHistory", service="cloudwatch", writes=False)
def describe_alarm_history(call: Call, params: Params) -> Result:
    """List what happened to alarms."""
    if params.get("AlarmContributorId"):
        raise Unsupported("Alarms with contributors are not supported: the parameter AlarmContributorId.")
    page = describe.page(
        call, params, "DescribeAlarmHistory", size="MaxRecords", at_least=1, at_most=100, default=_PAGE
    )
    asked = Search(
        alarm=params.get("AlarmName"),
        composite=tuple({_TYPES[one] for one in params.get("AlarmTypes") or ["MetricAlarm"] if one in _TYPES}),
        kind=params.get("HistoryItemType"),
        since=params.get("StartDate"),
        until=params.get("EndDate"),
        newest_first=params.get("ScanBy", "TimestampDescending") == "TimestampDescending",
    )
    after = None if page.after is None else (datetime.fromisoformat(page.after[0]), int(page.after[1]))
    found = alarm_history.search(call.tx, call.caller, asked, after, page.fetch or _PAGE)
    shown, token = page.cut(found, lambda row: (row.at.isoformat(), str(row.number)))
    items = [
        {
            "AlarmName": row.alarm,
            "AlarmType": "CompositeAlarm" if row.composite else "MetricAlarm",
            "Timestamp": row.at,
            "HistoryItemType": row.kind,
            "HistorySummary": row.summary,
            "HistoryData": row.text,
        }
        for row in shown
    ]
    return {"AlarmHistoryItems": items, "NextToken": token}
