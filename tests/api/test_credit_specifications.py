"""How burstable instances spend CPU credits, and what their launches are given."""

from datetime import timedelta
from typing import Any

import pytest

from stead_controller.catalog.cpu_credits import LAUNCHES
from stead_controller.clock import now
from stead_controller.db.tables import BurstableSettings, HostResource, Instance
from stead_controller.hosts import reports
from stead_controller.resources.instances import instance_recovery
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2 as pb_host
from tests.api.conftest import Api

ABSENT = "i-00000000000000000"
WEEK = 7 * 24 * 3600
NOT_SUPPORTED = "InstanceCreditSpecification.NotSupported"


def run(api: Api, instance_type: str, mode: str | None = None, *, count: int = 1, **more: Any) -> list[str]:
    if mode is not None:
        more["CreditSpecification"] = {"CpuCredits": mode}
    image = {"ImageId": api.world.image_id, "MinCount": count, "MaxCount": count}
    made = api.ec2.run_instances(InstanceType=instance_type, **image, **more)["Instances"]
    return [one["InstanceId"] for one in made]


def modes(api: Api, **asked: Any) -> dict[str, str]:
    found = api.ec2.describe_instance_credit_specifications(**asked)["InstanceCreditSpecifications"]
    return {one["InstanceId"]: one["CpuCredits"] for one in found}


def modify(api: Api, *asked: tuple[str, str], **more: Any) -> tuple[list[str], dict[str, str]]:
    wanted = [{"InstanceId": name, "CpuCredits": mode} for name, mode in asked]
    done = api.ec2.modify_instance_credit_specification(InstanceCreditSpecifications=wanted, **more)
    refused = {one["InstanceId"]: one["Error"]["Code"] for one in done["UnsuccessfulInstanceCreditSpecifications"]}
    return [one["InstanceId"] for one in done["SuccessfulInstanceCreditSpecifications"]], refused


def sent(api: Api, instance_id: str) -> pb.CpuCredits | None:
    """What the instance's host has to know of its credits."""

    def read(tx: Any) -> pb.CpuCredits | None:
        row = tx.session.query(HostResource).filter_by(kind=pb.KIND_MACHINE, resource_id=instance_id).one()
        machine = pb.Resource.FromString(row.body).machine
        return machine.cpu_credits if machine.HasField("cpu_credits") else None

    found: pb.CpuCredits | None = api.run(read)
    return found


def stop(api: Api, instance_id: str) -> None:
    """Let an instance be stopped."""

    def set_state(tx: Any) -> None:
        tx.session.get(Instance, instance_id).state = "stopped"

    api.run(set_state)


def test_new_instances_have_their_familys_mode(api: Api) -> None:
    [t2], [t3], [m5] = run(api, "t2.micro"), run(api, "t3.micro"), run(api, "m5.large")
    assert modes(api, InstanceIds=[t2, t3, m5]) == {t2: "standard", t3: "unlimited", m5: "standard"}
    assert modes(api) == {t3: "unlimited"}
    assert modes(api, Filters=[{"Name": "instance-id", "Values": [t2, t3]}]) == {t3: "unlimited"}
    other = api.other.describe_instance_credit_specifications
    api.refused("InvalidInstanceID.NotFound", other, InstanceIds=[t2])
    assert other()["InstanceCreditSpecifications"] == []
    bad = [{"Name": "colour", "Values": ["red"]}]
    api.refused("InvalidParameterValue", api.ec2.describe_instance_credit_specifications, Filters=bad)


def test_hosts_are_sent_what_types_promise(api: Api) -> None:
    [t2], [t3], [m5] = run(api, "t2.medium"), run(api, "t3.nano"), run(api, "m5.large")
    assert sent(api, t2) == pb.CpuCredits(per_hour=24_000, most=576_000, at_start=60_000)
    assert sent(api, t3) == pb.CpuCredits(unlimited=True, per_hour=6_000, most=144_000, saved_seconds=WEEK)
    assert sent(api, m5) is None


def test_a_launch_says_the_mode(api: Api) -> None:
    [t2], [t3] = run(api, "t2.micro", "unlimited"), run(api, "t3.micro", "standard")
    assert modes(api, InstanceIds=[t2, t3]) == {t2: "unlimited", t3: "standard"}
    told = sent(api, t2)
    assert told is not None
    assert (told.unlimited, told.at_start) == (True, 0)
    launch = {"ImageId": api.world.image_id, "MinCount": 1, "MaxCount": 1}
    for kind, mode, code in (("m5.large", "standard", NOT_SUPPORTED), ("t3.micro", "fast", "InvalidParameterValue")):
        asked = launch | {"InstanceType": kind, "CreditSpecification": {"CpuCredits": mode}}
        api.refused(code, api.ec2.run_instances, **asked)


def test_templates_say_the_mode_and_instances_give_it(api: Api) -> None:
    data = {"InstanceType": "t3.micro", "CreditSpecification": {"CpuCredits": "standard"}}
    api.ec2.create_launch_template(LaunchTemplateName="burst", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "burst"}
    [instance_id] = run(api, "t3.micro", LaunchTemplate=template)
    assert modes(api, InstanceIds=[instance_id]) == {instance_id: "standard"}
    got = api.ec2.get_launch_template_data(InstanceId=instance_id)["LaunchTemplateData"]
    assert got["CreditSpecification"] == {"CpuCredits": "standard"}
    [m5] = run(api, "m5.large")
    assert "CreditSpecification" not in api.ec2.get_launch_template_data(InstanceId=m5)["LaunchTemplateData"]
    doubtful = api.ec2.create_launch_template(
        LaunchTemplateName="doubtful", LaunchTemplateData=data | {"InstanceType": "m5.large"}
    )
    assert NOT_SUPPORTED in {one["Code"] for one in doubtful["Warning"]["Errors"]}


def test_modes_change_while_instances_run_and_are_stopped(api: Api) -> None:
    [running], [stopped] = run(api, "t3.micro"), run(api, "t2.micro")
    stop(api, stopped)
    assert modify(api, (running, "standard"), (stopped, "unlimited")) == ([running, stopped], {})
    assert modes(api, InstanceIds=[running, stopped]) == {running: "standard", stopped: "unlimited"}
    told = sent(api, running)
    assert told is not None
    assert not told.unlimited


def test_each_instance_is_changed_for_itself(api: Api) -> None:
    [good], [ended], [m5] = run(api, "t3.micro"), run(api, "t3.micro"), run(api, "m5.large")
    api.ec2.terminate_instances(InstanceIds=[ended])
    foreign = api.launch(api.world.other)
    bad = [ABSENT, "i-bad", ended, m5, foreign]
    assert modify(api, *((name, "standard") for name in (*bad, good))) == (
        [good],
        {
            ABSENT: "InvalidInstanceID.NotFound",
            "i-bad": "InvalidInstanceID.Malformed",
            ended: "IncorrectInstanceState",
            m5: NOT_SUPPORTED,
            foreign: "InvalidInstanceID.NotFound",
        },
    )
    assert modes(api, InstanceIds=[good, ended]) == {good: "standard", ended: "unlimited"}


def test_bad_changes_are_refused_as_a_whole(api: Api) -> None:
    [one] = run(api, "t3.micro")
    change = api.ec2.modify_instance_credit_specification
    good = {"InstanceId": one, "CpuCredits": "standard"}
    for code, asked in (
        ("InvalidParameterValue", [good, {"InstanceId": ABSENT, "CpuCredits": "fast"}]),
        ("InvalidParameterValue", [good, good]),
        ("MissingParameter", [{"InstanceId": one}]),
    ):
        api.refused(code, change, InstanceCreditSpecifications=asked)


def test_a_repeated_change_is_done_once(api: Api) -> None:
    [one] = run(api, "t3.micro")
    modify(api, (one, "standard"), ClientToken="once")
    modify(api, (one, "unlimited"))
    assert modify(api, (one, "standard"), ClientToken="once") == ([one], {})
    assert modes(api, InstanceIds=[one]) == {one: "unlimited"}
    change = api.ec2.modify_instance_credit_specification
    asked = [{"InstanceId": one, "CpuCredits": "unlimited"}]
    api.refused("IdempotentParameterMismatch", change, InstanceCreditSpecifications=asked, ClientToken="once")


def test_an_accounts_defaults(api: Api) -> None:
    def default(client: Any, family: str) -> str:
        found = client.get_default_credit_specification(InstanceFamily=family)["InstanceFamilyCreditSpecification"]
        assert found["InstanceFamily"] == family
        return str(found["CpuCredits"])

    assert [default(api.ec2, name) for name in ("t2", "t3", "t3a", "t4g")] == ["standard", *["unlimited"] * 3]
    set_default = api.ec2.modify_default_credit_specification
    for family, mode in (("t3", "standard"), ("t2", "unlimited")):
        answer = set_default(InstanceFamily=family, CpuCredits=mode)["InstanceFamilyCreditSpecification"]
        assert answer == {"InstanceFamily": family, "CpuCredits": mode}
    assert [default(api.ec2, name) for name in ("t2", "t3", "t3a")] == ["unlimited", "standard", "unlimited"]
    assert default(api.other, "t3") == "unlimited"
    [t2], [t3], [asked] = run(api, "t2.micro"), run(api, "t3.micro"), run(api, "t3.micro", "unlimited")
    assert modes(api, InstanceIds=[t2, t3, asked]) == {t2: "unlimited", t3: "standard", asked: "unlimited"}
    api.refused("InvalidParameterValue", set_default, InstanceFamily="m5", CpuCredits="standard")
    api.refused("InvalidParameterValue", set_default, InstanceFamily="t3", CpuCredits="fast")
    api.refused("InvalidParameterValue", api.ec2.get_default_credit_specification, InstanceFamily="m5")


@pytest.mark.parametrize(
    ("before", "mode", "after", "then"),
    [
        ("t3.micro", "standard", "t3.small", "standard"),
        ("t3.micro", "standard", "t2.small", "standard"),
        ("t2.micro", "unlimited", "m5.large", "unlimited"),
        ("m5.large", None, "t3.micro", "unlimited"),
        ("m5.large", None, "t2.micro", "standard"),
        ("t3.micro", "standard", "m5.large", "standard"),
    ],
)
def test_a_change_of_type_keeps_the_mode(api: Api, before: str, mode: str | None, after: str, then: str) -> None:
    [instance_id] = run(api, before, mode)
    stop(api, instance_id)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": after})
    assert modes(api, InstanceIds=[instance_id]) == {instance_id: then}


def test_an_instance_that_was_unlimited_is_again(api: Api) -> None:
    [instance_id] = run(api, "t2.micro", "unlimited")
    stop(api, instance_id)
    for kind in ("m5.large", "t2.micro"):
        api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": kind})
    assert modes(api, InstanceIds=[instance_id]) == {instance_id: "unlimited"}


def test_a_recovery_is_a_start(api: Api) -> None:
    [instance_id] = run(api, "t2.micro")
    assert api.run(lambda tx: instance_recovery.begin(tx, tx.session.get(Instance, instance_id), now()))
    assert len(credited(api)) == 2


def test_each_start_of_t2_is_given_credits(api: Api) -> None:
    [instance_id] = run(api, "t2.micro")
    stop(api, instance_id)
    modify(api, (instance_id, "unlimited"))
    api.ec2.start_instances(InstanceIds=[instance_id])
    told = sent(api, instance_id)
    assert told is not None
    assert told.at_start == 0
    stop(api, instance_id)
    modify(api, (instance_id, "standard"))
    api.ec2.start_instances(InstanceIds=[instance_id])
    told = sent(api, instance_id)
    assert told is not None
    assert told.at_start == 30_000
    assert len(credited(api)) == 2


def test_what_a_stopped_instance_saved_goes_with_it(api: Api) -> None:
    """To whichever host it starts on; for a week, and not by way of a type without credits."""
    [instance_id] = run(api, "t3.micro", "standard")
    assert saved(api, instance_id) == 0
    for seconds, kept in ((WEEK - 60, 7_500), (WEEK, 0)):
        ended(api, instance_id, 7_500)
        in_its_state_for(api, instance_id, seconds)
        api.ec2.start_instances(InstanceIds=[instance_id])
        assert saved(api, instance_id) == kept
    ended(api, instance_id, 7_500)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": "m5.large"})
    api.ec2.start_instances(InstanceIds=[instance_id])
    stop(api, instance_id)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": "t3.micro"})
    api.ec2.start_instances(InstanceIds=[instance_id])
    assert saved(api, instance_id) == 0


def test_only_the_end_of_the_latest_start_says_what_is_saved(api: Api) -> None:
    [instance_id] = run(api, "t3.micro", "standard")
    ended(api, instance_id, 7_500)
    api.ec2.start_instances(InstanceIds=[instance_id])
    report(api, instance_id, 1, pb_host.MACHINE_POWER_OFF, 9_000)  # of the first start, once more
    report(api, instance_id, 2, pb_host.MACHINE_POWER_RUNNING, 8_000)
    report(api, instance_id, 2, pb_host.MACHINE_POWER_OFF, None)  # its host was down, and will start it again
    in_its_state_for(api, instance_id, WEEK)  # it has been running for so long when its process ends
    assert api.run(lambda tx: instance_recovery.begin(tx, tx.session.get(Instance, instance_id), now()))
    assert api.run(lambda tx: tx.session.get(Instance, instance_id).saved_credits) == 7_500


def saved(api: Api, instance_id: str) -> int:
    found = sent(api, instance_id)
    assert found is not None
    return found.saved


def ended(api: Api, instance_id: str, credits_: int) -> None:
    """Let an instance stop, with so many thousandths of a credit left."""
    api.set_running(instance_id)
    api.ec2.stop_instances(InstanceIds=[instance_id])
    start_count = api.run(lambda tx: tx.session.get(Instance, instance_id).start_count)
    report(api, instance_id, start_count, pb_host.MACHINE_POWER_OFF, credits_)


def report(api: Api, instance_id: str, start_count: int, power: pb_host.MachinePower, credits_: int | None) -> None:
    balance = None if credits_ is None else pb_host.CpuCreditBalance(credits=credits_)
    machine = pb_host.MachineStatus(power=power, start_count=start_count, cpu_credits=balance)
    ready = pb_host.CONDITION_READY
    status = pb_host.ResourceStatus(kind=pb.KIND_MACHINE, id=instance_id, condition=ready, machine=machine)
    api.run(reports.apply_progress, [(api.world.host_id, [status])], now())


def in_its_state_for(api: Api, instance_id: str, seconds: int) -> None:
    def set_back(tx: Any) -> None:
        tx.session.get(Instance, instance_id).state_changed = now() - timedelta(seconds=seconds)

    api.run(set_back)


def credited(api: Api) -> list[float]:
    found: list[float] = api.run(lambda tx: tx.session.get(BurstableSettings, api.world.one.caller.account_id).credited)
    return found


def test_a_hundred_launches_a_day_are_given_credits(api: Api) -> None:
    account_id = api.world.one.caller.account_id

    def set_credited(tx: Any) -> None:
        moments = [(now() - timedelta(hours=hours)).timestamp() for hours in [25] * 5 + [23] * (LAUNCHES - 1)]
        tx.session.add(BurstableSettings(account_id=account_id, default_modes={}, credited=moments))

    api.run(set_credited)
    first, second = run(api, "t2.micro", count=2)
    given = [sent(api, name) for name in (first, second)]
    assert sorted(one.at_start for one in given if one is not None) == [0, 30_000]
    assert len(credited(api)) == LAUNCHES
    run(api, "t2.micro", "unlimited")
    run(api, "t3.micro", "standard")
    assert len(credited(api)) == LAUNCHES
