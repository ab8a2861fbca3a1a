"""The Data Lifecycle Manager through boto3, its clock stepped by hand."""

from datetime import timedelta

import pytest

from stead_controller.db.tables import Instance, LifecycleSchedule, LifecycleSnapshot, Snapshot
from stead_controller.resources.storage import snapshot_life
from stead_controller.workflows import lifecycle
from tests.support import rows

ROLE = "arn:aws:iam::111111111111:role/service-role/AWSDataLifecycleManagerDefaultRole"
START = rows.NOW.replace(hour=8, minute=0, second=0, microsecond=0)


def schedule(**changes):
    return {
        "Name": "daily",
        "CreateRule": {"Interval": 12, "IntervalUnit": "HOURS", "Times": ["09:00"]},
        "RetainRule": {"Count": 2},
        **changes,
    }


def details(*schedules, kind="VOLUME", **changes):
    return {
        "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
        "ResourceTypes": [kind],
        "TargetTags": [{"Key": "backup", "Value": "yes"}],
        "Schedules": list(schedules) or [schedule()],
        **changes,
    }


@pytest.fixture
def dlm(api):
    return api.client(api.world.one, "dlm")


@pytest.fixture
def create(dlm):
    def make(policy, **changes):
        asked = {"ExecutionRoleArn": ROLE, "Description": "backups", "State": "ENABLED", "PolicyDetails": policy}
        return dlm.create_lifecycle_policy(**asked | changes)["PolicyId"]

    return make


class Clock:
    """Steps time, and lets the manager and the hosts do all that is due at each step."""

    def __init__(self, api):
        self.api = api
        self.now = START

    def restart(self, policy_id):
        """Let the policy's schedules count from now: boto3's call was made at another time."""

        def begin(tx):
            for due in tx.session.query(LifecycleSchedule).filter_by(policy_id=policy_id):
                due.next_run = lifecycle._read(tx, due)[1].next_after(self.now)
                due.next_check = self.now

        self.api.run(begin)

    def later(self, complete=True, **by):
        end = self.now + timedelta(**by)
        while self.now < end:
            self.now = min(end, self.now + timedelta(minutes=30))
            while self.api.run(lifecycle.run_one, self.now):
                pass
            if complete:
                self.api.run(self._complete)

    def _complete(self, tx):
        for snapshot in tx.session.query(Snapshot).filter_by(state="pending"):
            snapshot_life.complete(tx, snapshot, self.now)


@pytest.fixture
def clock(api):
    return Clock(api)


@pytest.fixture
def volume(api):
    """A tagged volume, and one that is not."""
    api.launch(number=1)
    instance_id = api.launch()
    (found,) = api.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])[
        "Volumes"
    ]
    api.ec2.create_tags(
        Resources=[found["VolumeId"]], Tags=[{"Key": "backup", "Value": "yes"}, {"Key": "Name", "Value": "db"}]
    )
    return found["VolumeId"]


def made(api):
    found = api.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return sorted(found, key=lambda one: one["StartTime"])


def test_it_snapshots_on_time_and_retains_n(api, create, clock, volume):
    policy_id = create(details(schedule(TagsToAdd=[{"Key": "by", "Value": "policy"}], CopyTags=True)))
    clock.restart(policy_id)
    clock.later(minutes=30)
    assert made(api) == []
    clock.later(minutes=30)
    (first,) = made(api)
    assert (first["VolumeId"], first["StartTime"].hour, first["State"]) == (volume, 9, "completed")
    assert {tag["Key"]: tag["Value"] for tag in first["Tags"]} == {
        "Name": "db",
        "backup": "yes",
        "by": "policy",
        "dlm:managed": "true",
        "aws:dlm:lifecycle-policy-id": policy_id,
        "aws:dlm:lifecycle-schedule-name": "daily",
    }
    other = api.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    clock.later(days=2, minutes=30)
    remaining = [one for one in made(api) if one["SnapshotId"] != other]
    assert [one["StartTime"].hour for one in remaining] == [21, 9]
    assert remaining[0]["StartTime"] > START + timedelta(days=1)
    assert other in {one["SnapshotId"] for one in made(api)}


def test_what_is_not_complete_costs_no_old_one(api, create, clock, volume):
    clock.restart(create(details()))
    clock.later(hours=14)
    complete = {one["SnapshotId"] for one in made(api)}
    assert len(complete) == 2
    clock.later(days=1, complete=False)
    assert complete < {one["SnapshotId"] for one in made(api)}
    clock.later(minutes=30)
    clock.later(minutes=30)
    assert len(made(api)) == 2


def test_by_age_and_by_cron(api, create, clock, volume):
    rule = {"CronExpression": "cron(0 12 * * ? *)"}
    clock.restart(create(details(schedule(CreateRule=rule, RetainRule={"Interval": 3, "IntervalUnit": "DAYS"}))))
    clock.later(days=6)
    assert [one["StartTime"].hour for one in made(api)] == [12, 12, 12]
    oldest = made(api)[0]["StartTime"]
    assert oldest >= clock.now - timedelta(days=3, hours=1)


def test_the_volumes_of_an_instance(api, create, clock, volume):
    instance_id = api.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["InstanceId"]

    def more(tx):
        extra = rows.volume(tx.session.get_one(Instance, instance_id), api.world, device_name="/dev/sdf")
        tx.session.add(extra)
        return extra.id

    data = api.run(more)
    api.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "backup", "Value": "yes"}])
    clock.restart(create(details(kind="INSTANCE")))
    clock.restart(create(details(schedule(Name="data"), kind="INSTANCE", Parameters={"ExcludeBootVolume": True})))
    clock.later(hours=2)
    assert sorted(one["VolumeId"] for one in made(api)) == sorted([volume, data, data])
    # Both volumes together, whichever has how many.
    clock.later(days=2)
    assert len(made(api)) == 6


def test_a_target_that_cannot_be_taken_holds_up_no_other(api, create, clock, volume):
    for _ in range(5):
        api.ec2.create_snapshot(VolumeId=volume)
    (other,) = (one["VolumeId"] for one in api.ec2.describe_volumes()["Volumes"] if one["VolumeId"] != volume)
    api.ec2.create_tags(Resources=[other], Tags=[{"Key": "backup", "Value": "yes"}])
    clock.restart(create(details()))
    clock.later(complete=False, hours=2)
    by_policy = api.run(lambda tx: [row.snapshot_id for row in tx.session.query(LifecycleSnapshot)])
    assert [one["VolumeId"] for one in made(api) if one["SnapshotId"] in by_policy] == [other]


def test_many_targets_are_snapshot_some_at_a_time(api, create, clock, volume, monkeypatch):
    monkeypatch.setattr(lifecycle, "TARGETS_AT_ONCE", 2)
    ids = {volume}
    for _ in range(4):
        made_now = api.ec2.create_volume(AvailabilityZone=rows.CLOUD.zones[0], Size=1)["VolumeId"]
        api.ec2.create_tags(Resources=[made_now], Tags=[{"Key": "backup", "Value": "yes"}])
        ids.add(made_now)
    clock.restart(create(details()))
    clock.now += timedelta(hours=2)
    counts = []
    while api.run(lifecycle.run_one, clock.now):
        counts.append(len(made(api)))
    assert counts[:3] == [2, 4, 5]
    assert {one["VolumeId"] for one in made(api)} == ids
    (due,) = api.run(lambda tx: [(row.next_run, row.cursor) for row in tx.session.query(LifecycleSchedule)])
    assert due == (START.replace(hour=21), None), "and it is due again once, however many there were"


def test_disabled_and_deleted_policies_do_nothing(api, dlm, create, clock, volume):
    policy_id = create(details(), State="DISABLED")
    clock.later(days=1)
    assert made(api) == []
    dlm.update_lifecycle_policy(PolicyId=policy_id, State="ENABLED")
    clock.restart(policy_id)
    clock.later(hours=12)
    assert len(made(api)) == 1
    dlm.delete_lifecycle_policy(PolicyId=policy_id)
    clock.later(days=1)
    assert len(made(api)) == 1


def test_a_policy_lives(api, dlm, create):
    policy_id = create(details(), Tags={"team": "db"})
    shown = dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]
    assert (shown["State"], shown["Description"], shown["ExecutionRoleArn"]) == ("ENABLED", "backups", ROLE)
    assert shown["PolicyDetails"] == details()
    assert shown["PolicyArn"] == f"arn:aws:dlm:us-east-1:111111111111:policy/{policy_id}"
    dlm.tag_resource(ResourceArn=shown["PolicyArn"], Tags={"a": "b"})
    dlm.untag_resource(ResourceArn=shown["PolicyArn"], TagKeys=["team"])
    assert dlm.list_tags_for_resource(ResourceArn=shown["PolicyArn"])["Tags"] == {"a": "b"}
    changed = details(schedule(RetainRule={"Count": 9}))
    dlm.update_lifecycle_policy(PolicyId=policy_id, Description="other", State="DISABLED", PolicyDetails=changed)
    assert dlm.get_lifecycle_policy(PolicyId=policy_id)["Policy"]["PolicyDetails"] == changed
    other = create(details(schedule(TagsToAdd=[{"Key": "k", "Value": "v"}]), kind="INSTANCE"))

    def listed(**asked):
        return {one["PolicyId"] for one in dlm.get_lifecycle_policies(**asked)["Policies"]}

    assert listed() == {policy_id, other}
    assert listed(State="DISABLED") == {policy_id}
    assert listed(ResourceTypes=["INSTANCE"]) == {other}
    assert listed(TargetTags=["backup=yes"]) == {policy_id, other}
    assert listed(TargetTags=["backup=no"]) == set()
    assert listed(TagsToAdd=["k=v"]) == {other}
    assert listed(PolicyIds=[other]) == {other}
    assert listed(DefaultPolicyType="VOLUME") == set()
    theirs = api.client(api.world.other, "dlm")
    for absent, client in (("policy-00000000000000000", dlm), (policy_id, theirs)):
        for call in (client.get_lifecycle_policy, client.delete_lifecycle_policy, client.update_lifecycle_policy):
            api.refused("ResourceNotFoundException", call, PolicyId=absent)
        api.refused("ResourceNotFoundException", client.get_lifecycle_policies, PolicyIds=[absent])
    api.refused("ResourceNotFoundException", theirs.list_tags_for_resource, ResourceArn=shown["PolicyArn"])


@pytest.mark.parametrize(
    "policy",
    [
        details(kind="CLUSTER"),
        details(PolicyType="IMAGE_MANAGEMENT"),
        details(ResourceLocations=["OUTPOST"]),
        details(Parameters={"ExcludeBootVolume": True}),
        details(schedule(), schedule()),
        details(schedule(CreateRule={"Interval": 5, "IntervalUnit": "HOURS"})),
        details(schedule(CreateRule={"Interval": 12, "Times": ["25:00"]})),
        details(schedule(CreateRule={"CronExpression": "cron(0 0 0 0 0 000)"})),
        details(schedule(CreateRule={})),
        details(schedule(CreateRule={"Interval": 12, "CronExpression": "cron(0 12 * * ? *)"})),
        details(schedule(RetainRule={})),
        details(schedule(RetainRule={"Count": 0})),
        details(schedule(RetainRule={"Count": 1, "Interval": 1, "IntervalUnit": "DAYS"})),
        details(schedule(RetainRule={"Interval": 101, "IntervalUnit": "YEARS"})),
        details(schedule(FastRestoreRule={"Count": 1, "AvailabilityZones": ["us-east-1a"]})),
        details(schedule(TagsToAdd=[{"Key": "aws:x", "Value": "y"}])),
    ],
)
def test_what_is_refused(api, create, policy):
    api.refused("InvalidRequestException", create, policy=policy)


def test_other_bad_requests(api, create):
    for bad in ({"ExecutionRoleArn": "me"}, {"Description": "a/b"}, {"State": "MAYBE"}, {"Tags": {"aws:a": "b"}}):
        api.refused("InvalidRequestException", create, policy=details(), **bad)
    api.refused("InvalidRequestException", create, policy=details(), DefaultPolicy="VOLUME")
