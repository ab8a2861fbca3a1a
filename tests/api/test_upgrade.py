"""A cloud of an earlier release goes on with this one: all is described as before, its hosts come back, all can be changed."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stead_controller.db.schema import bring_up_to_date
from stead_controller.db.session import Database
from tests.api.releases.describing import BLOCKS, answers_to
from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story

RELEASES = Path(__file__).parent / "releases"


@dataclass
class OldCloud:
    """A cloud whose state was made by an earlier release, run by this one."""

    cloud: Cloud
    about: dict[str, Any]  # what `releases/make.py` noted
    before: dict[str, int] = field(default_factory=dict)  # how many rows there were, by table
    after: dict[str, int] = field(default_factory=dict)  # and when it was upgraded, before the controller tidied up

    def account(self, name: str) -> Account:
        """One of its users, by the key that the earlier release gave."""
        return Account(*self.about["accounts"][name], endpoint=self.cloud.endpoint)

    @property
    def database(self) -> Path:
        return self.cloud.settings.controller_dir / "stead.sqlite"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database itself."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def counts(self) -> dict[str, int]:
        """How many rows there are, by table."""
        names = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self.rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in names}


@pytest.fixture(
    scope="module", params=sorted(path.name for path in RELEASES.iterdir() if (path / "cloud.sql").exists())
)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldCloud]:
    """A controller over an upgraded database, and no host yet."""
    files = RELEASES / request.param
    made = OldCloud(Cloud(tmp_path_factory.mktemp("upgrade")), json.loads((files / "cloud.json").read_text()))
    state = made.cloud.settings.controller_dir
    state.mkdir(mode=0o700)
    key = state / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(bytes.fromhex(made.about["master_key"]))
    for name, content in made.about["blocks"].items():
        (state / "blocks" / name).parent.mkdir(parents=True, exist_ok=True)
        (state / "blocks" / name).write_bytes(base64.b64decode(content))
    connection = sqlite3.connect(made.database)
    connection.executescript((files / "cloud.sql").read_text())
    connection.close()
    made.before = made.counts()
    database = Database(f"sqlite:///{made.database}")
    bring_up_to_date(database.engine)
    database.close()
    made.after = made.counts()
    try:
        made.cloud.start_controller()
        yield made
    finally:
        made.cloud.stop()


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Say what is no more as it was; that there is more is no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from differences(value, after[name], f"{where}.{name}")
            else:
                yield f"{where}.{name} is gone, was {value!r}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {after!r}, was {before!r}"


def without_those_of_aws(answer: Any) -> Any:
    """Leave out the prefix lists that each account has without having made them, which the old release had not."""
    if not isinstance(answer, dict) or "PrefixLists" not in answer:
        return answer
    return answer | {"PrefixLists": [each for each in answer["PrefixLists"] if each.get("OwnerId") != "AWS"]}


@pytest.mark.parametrize("name", ["old", "other"])
def test_all_is_described_as_before(old: OldCloud, name: str) -> None:
    answers = old.about["told"][name]
    again = answers_to(old.account(name), [each["call"] for each in answers])
    found = [
        f"{before['call'][1]}({before['call'][2]}){difference}"
        for before, after in zip(answers, again, strict=True)
        for difference in differences(before["answer"], without_those_of_aws(after["answer"]))
    ]
    assert found == []
    assert {table: count for table, count in old.before.items() if old.after.get(table, 0) < count} == {}
    assert old.rows("PRAGMA foreign_key_check") == []
    assert old.rows("PRAGMA integrity_check") == [("ok",)]


def test_users_may_what_they_might(old: OldCloud) -> None:
    ana = old.account("ana")
    assert len(ana.ec2.describe_instances()["Reservations"]) == 3
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ana.ec2.stop_instances(InstanceIds=[old.about["made"]["first"]])
    with pytest.raises(ClientError, match="AuthFailure"):
        Account(ana.account_id, ana.access_key_id, "wrong", endpoint=ana.endpoint).ec2.describe_vpcs()


def test_blocks_of_an_old_snapshot_are_read(old: OldCloud) -> None:
    ebs = old.account("old").client("ebs")
    written = old.about["made"]["written"]
    listed = ebs.list_snapshot_blocks(SnapshotId=written)["Blocks"]
    assert [block["BlockIndex"] for block in listed] == list(BLOCKS)
    for block in listed:
        token = block["BlockToken"]
        answer = ebs.get_snapshot_block(SnapshotId=written, BlockIndex=block["BlockIndex"], BlockToken=token)
        assert answer["BlockData"].read() == BLOCKS[block["BlockIndex"]]


def test_hosts_come_back_and_old_resources_are_changed_and_removed(old: OldCloud) -> None:
    """The hosts hear of what was changed while they were away; then nothing of the account is left."""
    account, made = old.account("old"), old.about["made"]
    ec2 = account.ec2
    old.cloud.bring_back_hosts([row[0] for row in old.rows("SELECT id FROM hosts ORDER BY id")])

    def state(instance_id: str) -> str:
        found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return found["State"]["Name"]

    def volume(volume_id: str) -> Any:
        return ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]

    # What was asked for before, and not heard.
    wait_for(lambda: state(made["third"]) == "running", "the third one starts")
    wait_for(lambda: [a["State"] for a in volume(made["loose"])["Attachments"]] == ["attached"], "it is attached")

    # New requests for old resources.
    ec2.stop_instances(InstanceIds=[made["first"]])
    ec2.detach_volume(VolumeId=made["loose"])
    ec2.modify_volume(VolumeId=made["loose"], Size=9, VolumeType="gp3")
    snapshot_id = ec2.create_snapshot(VolumeId=made["loose"])["SnapshotId"]
    restored = ec2.create_volume(SnapshotId=made["written"], AvailabilityZone=volume(made["loose"])["AvailabilityZone"])
    [launched] = ec2.run_instances(
        ImageId=made["image_id"], InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="old", SubnetId=made["front"],
        SecurityGroupIds=[made["web"]], IamInstanceProfile={"Name": "worker"},
    )["Instances"]  # fmt: skip
    ec2.create_tags(Resources=[made["second"]], Tags=[{"Key": "made", "Value": "after"}])
    wait_for(lambda: state(made["first"]) == "stopped", "the first one stops")
    wait_for(lambda: volume(made["loose"])["State"] == "available", "it is detached")
    wait_for(lambda: volume(restored["VolumeId"])["State"] == "available", "it is restored")
    wait_for(lambda: state(launched["InstanceId"]) == "running", "a new one runs")
    wait_for(
        lambda: ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed",
        "it is complete",
    )
    other = old.account("other").ec2
    [shared] = other.describe_snapshots(RestorableByUserIds=["self"])["Snapshots"]
    other.create_volume(SnapshotId=shared["SnapshotId"], AvailabilityZone=restored["AvailabilityZone"])
    _ends(account, [*(made[name] for name in ("first", "second", "third")), launched["InstanceId"]])
    wait_for(lambda: old.rows("SELECT * FROM host_errors") == [], "no host fails at anything")
    assert old.rows("PRAGMA foreign_key_check") == []


def _ends(account: Account, instance_ids: list[str]) -> None:
    """Remove instances, volumes, images and snapshots, in the order in which that must be possible."""
    ec2 = account.ec2
    ec2.modify_instance_attribute(InstanceId=instance_ids[1], DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=instance_ids)

    def ended() -> bool:
        found = ec2.describe_instances(InstanceIds=instance_ids)["Reservations"]
        return {each["State"]["Name"] for it in found for each in it["Instances"]} == {"terminated"}

    wait_for(ended, "all instances are terminated")
    for image in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    for left in ec2.describe_volumes()["Volumes"]:
        ec2.delete_volume(VolumeId=left["VolumeId"])
    wait_for(lambda: ec2.describe_volumes()["Volumes"] == [], "all volumes are gone")
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
