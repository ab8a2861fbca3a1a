"""Images that an operator brings, as a client of the account that owns them sees them."""

import json

import pytest
from click.testing import CliRunner

from stead_cli.errors import CliError
from stead_cli.image import list_images
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.v1 import operator_pb2 as pb

CONTENT = b"an operator's disk" * BLOCK_BYTES


@pytest.fixture
def bring(cloud, account, tmp_path):
    """Import a raw disk of 64 MiB for the account, and give the image's id and the percents that were reported."""

    def send(name, *, public=False, owner=account.account_id):
        path = tmp_path / name
        path.write_bytes(CONTENT.ljust(64 << 20, b"\0"))
        percents = []
        header = pb.ImportImageHeader(
            name=name, format="raw", file_size=path.stat().st_size, public=public, account_id=owner
        )
        made = cloud.operator.import_image(header, path, lambda _count: None, percents.append)
        return made.image_id, percents

    return send


def disk_of(account, image_id):
    (image,) = account.ec2.describe_images(ImageIds=[image_id])["Images"]
    ((device, ebs),) = [(each["DeviceName"], each["Ebs"]) for each in image["BlockDeviceMappings"]]
    (snapshot,) = account.ec2.describe_snapshots(SnapshotIds=[ebs["SnapshotId"]])["Snapshots"]
    assert (device, image["State"], snapshot["State"]) == ("/dev/sda1", "available", "completed")
    assert ebs["Encrypted"] is snapshot["Encrypted"]
    return snapshot


def test_an_image_is_encrypted_where_its_account_has_all_encrypted(account, bring):
    image_id, percents = bring("in the open")
    assert disk_of(account, image_id)["Encrypted"] is False
    assert percents == sorted(percents)
    assert percents[-1] == 100

    account.ec2.enable_ebs_encryption_by_default()
    with pytest.raises(CliError, match="encrypted snapshots cannot be public"):
        bring("for all", public=True)
    sealed_id, _ = bring("sealed")
    snapshot = disk_of(account, sealed_id)
    assert snapshot["Encrypted"] is True
    key = account.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["KmsKeyId"]
    assert snapshot["KmsKeyId"] == key, "the account's default key"
    # Its owner reads what was sent.
    ebs = account.client("ebs")
    blocks = ebs.list_snapshot_blocks(SnapshotId=snapshot["SnapshotId"])["Blocks"]
    assert len(blocks) == len(CONTENT) // BLOCK_BYTES
    first = ebs.get_snapshot_block(SnapshotId=snapshot["SnapshotId"], BlockIndex=0, BlockToken=blocks[0]["BlockToken"])[
        "BlockData"
    ].read()
    assert first == CONTENT[:BLOCK_BYTES]
    names = [image["Name"] for image in account.ec2.describe_images(Owners=["self"])["Images"]]
    assert sorted(names) == ["in the open", "sealed"]


def test_operators_see_whose_an_image_is(cloud, account, bring, monkeypatch):
    monkeypatch.setattr("stead_cli.image.settings.load", lambda: cloud.settings)
    (own_id, _), (clouds_id, _) = bring("of the account"), bring("of the cloud", owner="")
    done = CliRunner().invoke(list_images, ["--output", "json"], catch_exceptions=False)
    owners = {each["image_id"]: each["owner"] for each in json.loads(done.stdout)}
    assert (owners[own_id], owners[clouds_id]) == (account.account_id, "amazon")
