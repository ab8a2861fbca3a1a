"""The health of instances."""

from datetime import UTC, datetime

from sqlalchemy import update

from stead_controller.db.tables import Host, Instance
from stead_controller.desired import desired_state
from stead_controller.hosts import reports
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW


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


def reported(
    api,
    instance_id,
    answers,
    *,
    power=pb.MACHINE_POWER_RUNNING,
    start_count=1,
    condition=pb.CONDITION_READY,
    **more,
):
    """Let the world's host report what it knows of a guest."""
    machine = pb.MachineStatus(power=power, start_count=start_count, answers=answers, **more)
    status = pb.ResourceStatus(kind=desired_pb2.KIND_MACHINE, id=instance_id, condition=condition, machine=machine)
    api.run(reports.apply_progress, [(api.world.host_id, [status])], NOW)


def checked(api, instance_id):
    """The instance's status check, and since when it fails."""
    (found,) = api.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    (detail,) = found["InstanceStatus"]["Details"]
    assert detail["Name"] == "reachability"
    return found["InstanceStatus"]["Status"], detail["Status"], detail.get("ImpairedSince")


def test_a_guest_is_well_when_it_answers(api):
    instance_id = api.launch(state="pending")
    reported(api, instance_id, pb.GUEST_ANSWERS_STARTING)
    assert checked(api, instance_id) == ("initializing", "initializing", None)
    wanted = [{"Name": "instance-status.reachability", "Values": ["initializing"]}]
    assert statuses(api, Filters=wanted) == {instance_id: ("running", "initializing", "ok")}
    reported(api, instance_id, pb.GUEST_ANSWERS_YES)
    assert checked(api, instance_id) == ("ok", "passed", None)
    api.ec2.get_waiter("instance_status_ok").wait(
        InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 1}
    )


def test_a_guest_that_answers_no_longer_is_impaired(api):
    instance_id = api.launch()
    since, later = int(NOW.timestamp()) - 90, int(NOW.timestamp()) - 10
    reported(api, instance_id, pb.GUEST_ANSWERS_NO, silent_since=since)
    assert checked(api, instance_id) == ("impaired", "failed", datetime.fromtimestamp(since, UTC))
    assert statuses(api) == {instance_id: ("running", "impaired", "ok")}
    reported(api, instance_id, pb.GUEST_ANSWERS_UNKNOWN)  # its agent was started anew
    assert checked(api, instance_id) == ("impaired", "failed", datetime.fromtimestamp(since, UTC))
    reported(api, instance_id, pb.GUEST_ANSWERS_NO, silent_since=later)  # and found it out again
    assert checked(api, instance_id) == ("impaired", "failed", datetime.fromtimestamp(since, UTC))
    reported(api, instance_id, pb.GUEST_ANSWERS_YES)
    assert checked(api, instance_id) == ("ok", "passed", None)
    reported(api, instance_id, pb.GUEST_ANSWERS_NO, silent_since=int(NOW.timestamp()) + 500)  # the host's clock is fast
    assert checked(api, instance_id) == ("impaired", "failed", NOW)


def test_a_guest_whose_qemu_does_not_answer_has_an_impaired_system(api):
    instance_id, since = api.launch(), int(NOW.timestamp()) - 90
    for reported_since, shown in ((since, since), (since + 999, int(NOW.timestamp()))):  # that host's clock is fast
        reported(api, instance_id, pb.GUEST_ANSWERS_YES, hung_since=reported_since)
        (found,) = api.ec2.describe_instance_status()["InstanceStatuses"]
        (detail,) = found["SystemStatus"]["Details"]
        assert (found["SystemStatus"]["Status"], detail["Status"]) == ("impaired", "failed")
        assert int(detail["ImpairedSince"].timestamp()) == shown
        assert checked(api, instance_id) == ("ok", "passed", None)
        wanted = [{"Name": "system-status.status", "Values": ["impaired"]}]
        assert statuses(api, Filters=wanted) == {instance_id: ("running", "ok", "impaired")}
    reported(api, instance_id, pb.GUEST_ANSWERS_YES)
    assert statuses(api) == {instance_id: ("running", "ok", "ok")}


def test_an_instance_that_its_host_does_not_run_is_no_healthy_one(api):
    """Such as after a power cut, or of an older database: it was terminated since, and its disks are gone."""
    instance_id, other = api.launch(answers="yes", hung_since=NOW), api.launch(number=1)
    off = {"power": pb.MACHINE_POWER_OFF}
    for start_count in (1, 0):  # the host has not lost its records, or has
        reported(api, instance_id, pb.GUEST_ANSWERS_UNSPECIFIED, start_count=start_count, **off)
        assert statuses(api) == {instance_id: ("running", "impaired", "impaired"), other: ("running", "ok", "ok")}
        (found,) = api.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
        assert {found[name]["Details"][0]["ImpairedSince"] for name in ("InstanceStatus", "SystemStatus")} == {NOW}
        wanted = [{"Name": "system-status.reachability", "Values": ["failed"]}]
        assert statuses(api, Filters=wanted).keys() == {instance_id}
        reported(api, instance_id, pb.GUEST_ANSWERS_UNKNOWN)
        assert statuses(api)[instance_id] == ("running", "initializing", "ok")
    reported(api, instance_id, pb.GUEST_ANSWERS_YES)
    assert statuses(api)[instance_id] == ("running", "ok", "ok")


def test_of_an_instance_that_starts_or_stops_it_is_no_fault_that_it_is_off(api):
    for number, state in enumerate(("pending", "stopping", "shutting-down")):
        instance_id = api.launch(number=number, state=state, start_count=2)
        for start_count in (1, 2):
            reported(
                api,
                instance_id,
                pb.GUEST_ANSWERS_UNSPECIFIED,
                condition=pb.CONDITION_PENDING,
                power=pb.MACHINE_POWER_OFF,
                start_count=start_count,
            )
        assert api.run(lambda tx, one=instance_id: tx.session.get_one(Instance, one).off_since) is None


def test_an_old_report_that_an_instance_is_off_counts_no_more(api):
    instance_id = api.launch()
    api.run(lambda tx: desired_state.refresh_instance(tx, instance_id))
    reported(api, instance_id, pb.GUEST_ANSWERS_UNSPECIFIED, power=pb.MACHINE_POWER_OFF, start_count=0)
    assert statuses(api) == {instance_id: ("running", "ok", "ok")}


def test_no_guest_is_judged_by_an_agent_that_does_not_ask(api):
    """One of an earlier release, to which a host went back or which it has still."""
    instance_id = api.launch(state="pending", answers="no", silent_since=NOW)
    reported(api, instance_id, pb.GUEST_ANSWERS_UNSPECIFIED)
    assert checked(api, instance_id) == ("ok", "passed", None)


def test_what_was_known_of_an_earlier_start_is_forgotten(api):
    """The agent was started anew between the start of the guest and its first report of it."""
    for number, words in enumerate(({"state": "pending"}, {"recovery_began": NOW})):
        instance_id = api.launch(number=number, answers="no", silent_since=NOW, **words)
        reported(api, instance_id, pb.GUEST_ANSWERS_UNKNOWN)
        assert checked(api, instance_id) == ("initializing", "initializing", None)
        reported(api, instance_id, pb.GUEST_ANSWERS_UNKNOWN)
        assert checked(api, instance_id) == ("initializing", "initializing", None)


def test_a_report_of_another_start_says_nothing(api):
    instance_id = api.launch(start_count=2, answers="starting")
    reported(api, instance_id, pb.GUEST_ANSWERS_YES)
    assert checked(api, instance_id) == ("initializing", "initializing", None)


def test_a_silent_guest_on_a_lost_host(api):
    instance_id = api.launch(answers="no", silent_since=NOW)
    api.run(lambda tx: tx.session.execute(update(Host).values(state="down")))
    assert checked(api, instance_id) == ("insufficient-data", "insufficient-data", None)
