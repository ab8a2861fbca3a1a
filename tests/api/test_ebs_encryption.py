"""Encrypted volumes through boto3: under which key they are, who has the key, when, and that it is nowhere in the open."""

import re

import pytest
from sqlalchemy import select

from stead_controller.db.tables import CloudFact, HostResource, Volume
from stead_controller.desired.changes import Reader
from stead_controller.resources.storage import volume_keys
from tests.api.test_volumes import ZONE, attach, settle

ARN = re.compile(r"arn:aws:kms:us-east-1:[0-9]{12}:key/[0-9a-f-]{36}\Z")
OTHER_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def make(api, **params):
    return api.ec2.create_volume(**{"AvailabilityZone": ZONE, "VolumeType": "gp3"} | params)


def sent(api, kind, resource_id):
    """What the host is sent of a resource, with keys opened, or None when it is to have none."""

    def read(tx):
        tx.session.merge(CloudFact(name="epoch", value="1"))
        tx.session.flush()
        reader = Reader(tx, lambda sealed: api.world.cloud.sealer.open(sealed, volume_keys.CONTEXT))
        state = reader.everything(api.world.host_id).message.state
        return next((each for each in state.resources if each.id == resource_id and each.HasField(kind)), None)

    found = api.run(read)
    return getattr(found, kind) if found is not None else None


def key_of(api, volume_id):
    return api.run(
        lambda tx: api.world.cloud.sealer.open(
            tx.session.get_one(Volume, volume_id).sealed_key, volume_keys.CONTEXT
        )
    )  # fmt: skip


@pytest.fixture
def instance_id(api):
    return api.launch()


def test_a_volume_is_encrypted_where_that_is_asked_for(api):
    plain, secret = make(api, Size=1), make(api, Size=1, Encrypted=True)
    assert (plain["Encrypted"], "KmsKeyId" in plain) == (False, False)
    assert secret["Encrypted"] is True
    assert ARN.match(secret["KmsKeyId"])
    assert make(api, Size=1, Encrypted=True)["KmsKeyId"] == secret["KmsKeyId"]
    assert make(api, Size=1, Encrypted=True, KmsKeyId="alias/aws/ebs")["KmsKeyId"] == secret["KmsKeyId"]
    (shown,) = api.ec2.describe_volumes(Filters=[{"Name": "encrypted", "Values": ["true"]}], MaxResults=5)["Volumes"][
        :1
    ]
    assert shown["KmsKeyId"] == secret["KmsKeyId"]
    keys = {key_of(api, each["VolumeId"]) for each in api.ec2.describe_volumes()["Volumes"] if each["Encrypted"]}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        (OTHER_KEY, f"arn:aws:kms:us-east-1:{{account}}:key/{OTHER_KEY}"),
        (f"arn:aws:kms:eu-west-1:111122223333:key/{OTHER_KEY}", f"arn:aws:kms:eu-west-1:111122223333:key/{OTHER_KEY}"),
    ],
)
def test_keys_are_shown_as_their_arn(api, named, shown):
    made = make(api, Size=1, Encrypted=True, KmsKeyId=named)
    assert made["KmsKeyId"] == shown.format(account=api.world.one.caller.account_id)
    alias = make(api, Size=1, Encrypted=True, KmsKeyId="alias/mine")["KmsKeyId"]
    account = api.world.one.caller.account_id
    by_arn = make(api, Size=1, Encrypted=True, KmsKeyId=f"arn:aws:kms:us-east-1:{account}:alias/mine")["KmsKeyId"]
    assert alias == by_arn != make(api, Size=1, Encrypted=True)["KmsKeyId"]


@pytest.mark.parametrize("name", ["nonsense", "alias/", "alias/a b", "key/../x", "arn:aws:s3:::bucket", "k" * 600])
def test_what_is_no_key_is_refused(api, name):
    api.refused("InvalidParameterValue", lambda: make(api, Size=1, Encrypted=True, KmsKeyId=name))
    api.refused("InvalidParameterValue", api.ec2.modify_ebs_default_kms_key_id, KmsKeyId=name)


def test_a_key_without_encryption_is_refused(api):
    api.refused("InvalidParameterDependency", lambda: make(api, Size=1, KmsKeyId=OTHER_KEY))


def test_encryption_by_default(api):
    ec2 = api.ec2
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert ec2.enable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    assert api.other.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert make(api, Size=1)["Encrypted"] is True
    assert make(api, Size=1, Encrypted=False)["Encrypted"] is True
    assert ec2.disable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert make(api, Size=1)["Encrypted"] is False
    api.refused("DryRunOperation", ec2.enable_ebs_encryption_by_default, DryRun=True)


def test_the_default_key(api):
    ec2 = api.ec2
    first = make(api, Size=1, Encrypted=True)["KmsKeyId"]
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    arn = ec2.modify_ebs_default_kms_key_id(KmsKeyId=OTHER_KEY)["KmsKeyId"]
    assert arn.endswith(f":key/{OTHER_KEY}")
    assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == arn
    assert make(api, Size=1, Encrypted=True)["KmsKeyId"] == arn
    assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    assert make(api, Size=1, Encrypted=True)["KmsKeyId"] == first


def test_launches_have_encrypted_volumes(api):
    ec2 = api.ec2

    def launch(**ebs):
        made = ec2.run_instances(
            ImageId=api.world.image_id,
            InstanceType="t3.nano",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1} | ebs}],
        )["Instances"][0]["InstanceId"]
        found = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made]}])["Volumes"]
        return {each["Attachments"][0]["Device"]: each for each in found}

    volumes = launch(Encrypted=True, KmsKeyId=OTHER_KEY)
    assert volumes["/dev/sdf"]["KmsKeyId"].endswith(OTHER_KEY)
    assert [each["Encrypted"] for name, each in volumes.items() if name != "/dev/sdf"] == [False]
    ec2.enable_ebs_encryption_by_default()
    assert {each["Encrypted"] for each in launch().values()} == {True}


def test_the_host_has_the_key_while_an_instance_has_the_volume(api, instance_id):
    volume_id = make(api, Size=1, Encrypted=True)["VolumeId"]
    attach(api, volume_id, instance_id)
    assert sent(api, "volume", volume_id).encryption_key == key_of(api, volume_id)
    settle(api, instance_id, plugged=[volume_id])
    assert sent(api, "volume", volume_id).encryption_key == key_of(api, volume_id)
    api.ec2.detach_volume(VolumeId=volume_id)
    settle(api, instance_id)
    stored = sent(api, "volume", volume_id)
    assert (stored.encrypted, stored.encryption_key) == (True, b"")


def test_the_database_has_no_key_in_the_open(api, instance_id):
    volume_id = make(api, Size=1, Encrypted=True)["VolumeId"]
    attach(api, volume_id, instance_id)
    key = key_of(api, volume_id)
    bodies = api.run(lambda tx: list(tx.session.scalars(select(HostResource.body))))
    assert any(volume_id.encode() in body for body in bodies if body)
    dump = repr(api.dump()).encode("latin-1", "replace")
    assert repr(key)[2:-1].encode() not in dump
    assert key.hex().encode() not in dump
    assert not any(key in body for body in bodies if body)
