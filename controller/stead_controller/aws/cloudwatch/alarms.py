"""DescribeAlarms, DescribeAlarmsForMetric, SetAlarmState, DeleteAlarms, EnableAlarmActions and DisableAlarmActions."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.cloudwatch.alarm_view import alarm_view, child_view, parent_view
from stead_controller.aws.cloudwatch.measures import metric_given
from stead_controller.errors import InvalidCombination
from stead_controller.resources.metrics import alarms
from stead_controller.resources.metrics.alarm_states import NewState
from stead_controller.resources.metrics.alarms import Search
from stead_controller.resources.metrics.measures import Measure

_PAGE: Final = 50
_ALONE: Final = ("ChildrenOfAlarmName", "ParentsOfAlarmName")
_OTHERS: Final = ("AlarmNames", "AlarmNamePrefix", "AlarmTypes", "StateValue", "ActionPrefix")
_TYPES: Final = {"MetricAlarm": False, "CompositeAlarm": True}


@operation("DescribeAlarms", service="cloudwatch", writes=False)
def describe_alarms(call: Call, params: Params) -> Result:
    """List alarms: metric alarms, unless the request asks for composite ones."""
    relatives = [name for name in _ALONE if params.get(name)]
    if relatives:
        return _relatives(call, params, relatives[0])
    names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix", "")
    if names and prefix:
        raise InvalidCombination("AlarmNames and AlarmNamePrefix cannot be used together.")
    page = describe.page(call, params, "DescribeAlarms", size="MaxRecords", at_least=1, at_most=100, default=_PAGE)
    asked = Search(
        names=names or None,
        prefix=prefix,
        composite=_kinds(params),
        state=params.get("StateValue"),
        action_prefix=params.get("ActionPrefix", ""),
    )
    after = page.after[0] if page.after else None
    found = alarms.search(call.tx, call.caller, asked, after=after, limit=page.fetch or _PAGE)
    shown, token = page.cut(found, lambda row: (row.name,))
    return {
        "MetricAlarms": [alarm_view(call, row) for row in shown if row.rule is None],
        "CompositeAlarms": [alarm_view(call, row) for row in shown if row.rule is not None],
        "NextToken": token,
    }


def _relatives(call: Call, params: Params, name: str) -> Result:
    """List the alarms below or above a composite alarm, all on one page; a rule names 100 at most."""
    beside = [other for other in (*_ALONE, *_OTHERS) if other != name and params.get(other)]
    if beside:
        raise InvalidCombination(f"{name} and {beside[0]} cannot be used together.")
    describe.page(call, params, "DescribeAlarms", size="MaxRecords", at_least=1, at_most=100, default=_PAGE)
    above = name == "ParentsOfAlarmName"
    found = alarms.relatives(call.tx, call.caller, params[name], above=above)
    view = parent_view if above else child_view
    return {
        "MetricAlarms": [view(call, row) for row in found if row.rule is None],
        "CompositeAlarms": [view(call, row) for row in found if row.rule is not None],
    }


@operation("DescribeAlarmsForMetric", service="cloudwatch", writes=False)
def describe_alarms_for_metric(call: Call, params: Params) -> Result:
    """List the alarms on one metric, without those on expressions."""
    statistic, extended = params.get("Statistic"), params.get("ExtendedStatistic")
    if statistic and extended:
        raise InvalidCombination("Statistic and ExtendedStatistic cannot be used together.")
    period = params.get("Period")
    measure = Measure(metric_given(params), statistic or extended or "", period or 0, params.get("Unit"))
    found = alarms.on_measure(
        call.tx, call.caller, measure, any_period=period is None, any_statistic=not (statistic or extended)
    )
    return {"MetricAlarms": [alarm_view(call, row) for row in found]}


@operation("SetAlarmState", service="cloudwatch")
def set_alarm_state(call: Call, params: Params) -> Result:
    """Give an alarm a state until its next evaluation."""
    new = NewState(params["StateValue"], params["StateReason"], params.get("StateReasonData"))
    alarms.set_state(call.tx, call.caller, params["AlarmName"], new, call.now)
    return {}


@operation("DeleteAlarms", service="cloudwatch")
def delete_alarms(call: Call, params: Params) -> Result:
    """Delete alarms."""
    alarms.remove(call.tx, call.caller, params["AlarmNames"], call.now)
    return {}


@operation("EnableAlarmActions", service="cloudwatch")
def enable_alarm_actions(call: Call, params: Params) -> Result:
    """Let alarms carry out their actions."""
    alarms.enable_actions(call.tx, call.caller, params["AlarmNames"], True, call.now)
    return {}


@operation("DisableAlarmActions", service="cloudwatch")
def disable_alarm_actions(call: Call, params: Params) -> Result:
    """Let alarms change their states only."""
    alarms.enable_actions(call.tx, call.caller, params["AlarmNames"], False, call.now)
    return {}


def _kinds(params: Params) -> tuple[bool, ...]:
    """Return whether composite alarms are asked for, and metric alarms; there are none of other types."""
    asked = params.get("AlarmTypes") or ["MetricAlarm"]
    return tuple({_TYPES[one] for one in asked if one in _TYPES})
