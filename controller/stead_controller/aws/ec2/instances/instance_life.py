"""StartInstances, StopInstances, RebootInstances, TerminateInstances, MonitorInstances and UnmonitorInstances.

The requests have ids, the answers changes of state.
"""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidCombination, Unsupported
from stead_controller.resources.instances.hibernation import hibernate_instances
from stead_controller.resources.instances.instance_states import STATE_CODES, StateChange
from stead_controller.resources.instances.monitor_instances import set_monitoring
from stead_controller.resources.instances.reboot_instances import reboot_instances
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances


@operation("StartInstances")
def start(call: Call, params: Params) -> Result:
    """Start stopped instances."""
    changes = start_instances(call.tx, call.caller, call.cloud, params["InstanceIds"], call.now)
    return {"StartingInstances": [_change(change) for change in changes]}


@operation("StopInstances")
def stop(call: Call, params: Params) -> Result:
    """Stop running instances, or hibernate them."""
    hasten, skip_shutdown = params.get("Force", False), params.get("SkipOsShutdown", False)
    if params.get("Hibernate", False):
        if hasten or skip_shutdown:
            raise InvalidCombination("Hibernate cannot be used with Force or SkipOsShutdown")
        changes = hibernate_instances(call.tx, call.caller, call.cloud, params["InstanceIds"], call.now)
    else:
        changes = stop_instances(
            call.tx, call.caller, params["InstanceIds"], call.now, hasten=hasten, skip_shutdown=skip_shutdown
        )
    return {"StoppingInstances": [_change(change) for change in changes]}


@operation("RebootInstances")
def reboot(call: Call, params: Params) -> Result:
    """Reboot running instances."""
    reboot_instances(call.tx, call.caller, params["InstanceIds"])
    return {}


@operation("TerminateInstances", makes_room=True)
def terminate(call: Call, params: Params) -> Result:
    """Terminate instances; a guest that does not shut down in some seconds is ended, which is all that Force asks."""
    params.get("Force")
    skip_shutdown = params.get("SkipOsShutdown", False)
    changes = terminate_instances(call.tx, call.caller, params["InstanceIds"], call.now, skip_shutdown=skip_shutdown)
    return {"TerminatingInstances": [_change(change) for change in changes]}


@operation("MonitorInstances")
def monitor(call: Call, params: Params) -> Result:
    """Enable detailed monitoring of instances."""
    _refuse_categories(params)
    return _monitored(set_monitoring(call.tx, call.caller, params["InstanceIds"], call.now, enabled=True), "pending")


@operation("UnmonitorInstances")
def unmonitor(call: Call, params: Params) -> Result:
    """Disable detailed monitoring of instances."""
    _refuse_categories(params)
    return _monitored(set_monitoring(call.tx, call.caller, params["InstanceIds"], call.now, enabled=False), "disabling")


def _refuse_categories(params: Params) -> None:
    if params.get("MetricCategoryIds"):
        raise Unsupported("Categories of metrics are not supported by this cloud (MetricCategoryIds).")


def _monitored(instance_ids: list[str], state: str) -> Result:
    return {"InstanceMonitorings": [{"InstanceId": one, "Monitoring": {"State": state}} for one in instance_ids]}


def _change(change: StateChange) -> Result:
    return {
        "InstanceId": change.instance_id,
        "PreviousState": {"Code": STATE_CODES[change.previous], "Name": change.previous},
        "CurrentState": {"Code": STATE_CODES[change.current], "Name": change.current},
    }
