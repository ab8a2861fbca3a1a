"""The health of instances, and what burstable ones do with CPU credits."""

from sqlalchemy import update

from stead_controller.db.tables import Host
from tests.unit.controller.resources.rows import NOW


def statuses(api, **asked):
    found = api.ec2.describe_instance_status(**asked)["InstanceStatuses"]
    return {
        one["InstanceId"]: (
            one["InstanceState"]["Name"],
            one["InstanceStatus"]["Status"],
            one["SystemStatus"]["Status"],
        )
        for one in found
    }


def test_running_instances_only_unless_all_are_asked(api):
    running, stopped = api.launch(), api.launch(number=1, state="stopped")
    pending = api.launch(number=2, state="pending")
    assert statuses(api) == {running: ("running", "ok", "ok")}
    assert statuses(api, IncludeAllInstances=True) == {
        running: ("running", "ok", "ok"),
        stopped: ("stopped", "not-applicable", "not-applicable"),
        pending: ("pending", "initializing", "initializing"),
    }
    assert statuses(api, InstanceIds=[stopped]) == {}
    waiter = api.ec2.get_waiter("instance_status_ok")
    waiter.wait(InstanceIds=[running], WaiterConfig={"Delay": 1, "MaxAttempts": 1})


def test_a_lost_host_shows(api):
    running = api.launch()
    api.run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    assert statuses(api) == {running: ("running", "insufficient-data", "impaired")}
    assert statuses(api, Filters=[{"Name": "system-status.status", "Values": ["ok"]}]) == {}
    assert statuses(api, Filters=[{"Name": "system-status.reachability", "Values": ["failed"]}]).keys() == {running}


def test_a_recovery_shows(api):
    running = api.launch(recovery_began=NOW)
    assert statuses(api) == {running: ("running", "initializing", "impaired")}
    api.run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    assert statuses(api) == {running: ("running", "insufficient-data", "impaired")}


def test_filters(api):
    running = api.launch()
    for name, value in [
        ("availability-zone", "us-east-1a"),
        ("instance-state-name", "running"),
        ("instance-state-code", "16"),
        ("instance-status.status", "ok"),
        ("instance-status.reachability", "passed"),
        ("system-status.status", "ok"),
        ("attached-ebs-status.status", "ok"),
    ]:
        assert statuses(api, Filters=[{"Name": name, "Values": [value]}]).keys() == {running}, name
    assert statuses(api, Filters=[{"Name": "event.code", "Values": ["*"]}]) == {}
    bad = [{"Name": "colour", "Values": ["red"]}]
    api.refused("InvalidParameterValue", api.ec2.describe_instance_status, Filters=bad)


def test_credit_specifications(api):
    burstable, other = api.launch(), api.launch(number=1, instance_type="m5.large")
    describe = api.ec2.describe_instance_credit_specifications
    assert describe(InstanceIds=[burstable])["InstanceCreditSpecifications"] == [
        {"InstanceId": burstable, "CpuCredits": "standard"}
    ]
    assert describe()["InstanceCreditSpecifications"] == []
    api.refused("InstanceCreditSpecification.NotSupported", describe, InstanceIds=[other])
    api.refused(
        "InvalidInstanceID.NotFound", api.other.describe_instance_credit_specifications, InstanceIds=[burstable]
    )
