"""Alarms as CloudWatch shows them."""

import json

from stead_controller.aws.call import Call, Result
from stead_controller.aws.cloudwatch.measures import measure_view, query_view
from stead_controller.resources.metrics import alarms
from stead_controller.resources.metrics.alarms import ShownAlarm


def alarm_view(call: Call, row: ShownAlarm) -> Result:
    """Show an alarm of either kind."""
    actions = json.loads(row.actions)
    shown = {
        "AlarmName": row.name,
        "AlarmArn": alarms.arn_of(call.cloud, call.caller.account_id, row.name),
        "AlarmDescription": row.description,
        "AlarmConfigurationUpdatedTimestamp": row.configured,
        "ActionsEnabled": row.actions_enabled,
        "OKActions": actions.get("OK", []),
        "AlarmActions": actions.get("ALARM", []),
        "InsufficientDataActions": actions.get("INSUFFICIENT_DATA", []),
        "StateValue": row.state,
        "StateReason": row.reason,
        "StateReasonData": row.reason_data,
        "StateUpdatedTimestamp": row.updated,
        "StateTransitionedTimestamp": row.transitioned,
    }
    return shown | ({"AlarmRule": row.rule} if row.rule is not None else _definition(row))


def child_view(call: Call, row: ShownAlarm) -> Result:
    """Show an alarm as the child of another."""
    shown = parent_view(call, row)
    return shown | {"StateValue": row.state, "StateUpdatedTimestamp": row.updated}


def parent_view(call: Call, row: ShownAlarm) -> Result:
    """Show an alarm as the parent of another."""
    return {"AlarmName": row.name, "AlarmArn": alarms.arn_of(call.cloud, call.caller.account_id, row.name)}


def _definition(row: ShownAlarm) -> Result:
    definition = alarms.definition_of(row)
    if definition.measure is not None:
        watched = measure_view(definition.measure)
    else:
        watched = {"Metrics": [query_view(query) for query in definition.queries]}
    return {
        **watched,
        "EvaluationPeriods": definition.periods,
        "DatapointsToAlarm": definition.to_alarm,
        "Threshold": definition.threshold,
        "ComparisonOperator": definition.comparison,
        "TreatMissingData": definition.missing,
        "EvaluateLowSampleCountPercentile": definition.low_samples,
    }
