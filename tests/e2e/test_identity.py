"""A real guest proves who it is, hands its owner a secret, is asked for its metadata otherwise, and uses its role."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stead_cli import ssh
from tests.support import guest_role
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

IDENTITY = "dynamic/instance-identity"
TAG = "meta-data/tags/instance/role"
ROLE = "meta-data/iam/security-credentials"
SECRET = b"correct horse, Windows"


def test_identity_password_and_options(guest_owner: User, guest: str, real_cloud: RealCloud, tmp_path: Path) -> None:
    """The shared guest is in the end as it was, but for what it has written."""
    user = guest_owner
    user.account.client("s3", read_timeout=90).create_bucket(Bucket="of-workers")
    login = user.connect(guest)
    _check_identity(user, login, guest, real_cloud.settings.identity_file, tmp_path)
    _check_password(user, login, guest)
    _check_options(user, login, guest)
    _check_role(user, login, guest, real_cloud)


def _check_identity(user: User, login: ssh.Login, instance_id: str, certificate: Path, folder: Path) -> None:
    """Verify as AWS's documentation tells users to do, outside of the guest, with the cloud's certificate."""
    names = {name: f"{IDENTITY}/{name}" for name in ("document", "signature", "rsa2048")}
    names["credentials"] = "meta-data/identity-credentials/ec2/security-credentials/ec2-instance"
    words = "; ".join(f"imds get {path}; echo; echo =-=" for path in names.values())
    read = dict(zip(names, login.run(words).split("\n=-=\n"), strict=False))
    shown = user.describe(instance_id)
    document = json.loads(read["document"])
    assert document["instanceId"] == instance_id
    assert document["accountId"] == user.account.account_id
    assert document["privateIp"] == shown["PrivateIpAddress"]
    assert document["availabilityZone"] == shown["Placement"]["AvailabilityZone"]
    mine = json.loads(read["credentials"])
    keys = {"access_key_id": mine["AccessKeyId"], "secret_access_key": mine["SecretAccessKey"]}
    reported = replace(user.account, session_token=mine["Token"], **keys).client("sts").get_caller_identity()
    assert reported["Arn"] == f"arn:aws:sts::{user.account.account_id}:assumed-role/aws:ec2-instance/{instance_id}"
    (folder / "document").write_text(read["document"])
    (folder / "rsa2048").write_text(f"-----BEGIN PKCS7-----\n{read['rsa2048']}\n-----END PKCS7-----\n")
    (folder / "signature64").write_text(read["signature"] + "\n")
    words = f"""
        openssl smime -verify -in rsa2048 -inform PEM -content document -certfile {certificate} -noverify
        openssl base64 -d -in signature64 -out signature
        openssl x509 -pubkey -noout -in {certificate} -out key
        openssl dgst -sha256 -verify key -signature signature document
    """
    subprocess.run(["sh", "-ec", words], cwd=folder, check=True, capture_output=True, timeout=60)


def _check_password(user: User, login: ssh.Login, instance_id: str) -> None:
    """Write to the console as EC2Launch does, and have the `aws` command decrypt what is found there."""
    assert user.ec2.get_password_data(InstanceId=instance_id)["PasswordData"] == ""
    key = load_pem_private_key(user.key_file.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    text = b64encode(key.public_key().encrypt(SECRET, padding.PKCS1v15())).decode()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    login.run(f"sudo tee /dev/console >/dev/null <<'end'\n<Password>\n{lines}\n</Password>\nend\n")
    wait_for(lambda: user.ec2.get_password_data(InstanceId=instance_id)["PasswordData"], "the password is found")
    words = ("ec2", "get-password-data", "--instance-id", instance_id, "--priv-launch-key", str(user.key_file))
    shown = user.account.aws(*words)
    assert shown["PasswordData"] == SECRET.decode()


def _check_options(user: User, login: ssh.Login, instance_id: str) -> None:
    """Change what is answered while the guest runs; by a token, and without."""
    asked = ("imds get meta-data/instance-id", "IMDS_TOKEN= imds get meta-data/instance-id", f"imds get {TAG}")
    look = "; ".join(f"{each} >/dev/null && echo yes || echo no" for each in asked)  # one login costs as much as these

    def change(what: str, **options: str) -> None:
        user.ec2.modify_instance_metadata_options(InstanceId=instance_id, **options)  # type: ignore[arg-type] # words
        wait_for(lambda: user.describe(instance_id)["MetadataOptions"]["State"] == "applied", f"applied: {options}")
        assert login.run(look).split() == what.split(), "what is shown as applied is so"

    assert login.run(look).split() == ["yes", "yes", "yes"]
    change("yes no yes", HttpTokens="required")
    change("yes no no", InstanceMetadataTags="disabled")
    change("no no no", HttpEndpoint="disabled")
    change("yes yes yes", HttpEndpoint="enabled", HttpTokens="optional", InstanceMetadataTags="enabled")


def _check_role(user: User, login: ssh.Login, instance_id: str, cloud: RealCloud) -> None:
    """Give the guest a role while it runs: it lists its own tags by it, and may not even terminate itself."""
    iam = user.account.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    rights: list[Mapping[str, object]] = [
        {"Effect": "Allow", "Action": "ec2:DescribeTags", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "Shop"}},
        },
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::of-workers/*"},
    ]
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName="worker", PolicyName="look", PolicyDocument=_policy(*rights))
    iam.create_instance_profile(InstanceProfileName="Workers")
    iam.add_role_to_instance_profile(InstanceProfileName="Workers", RoleName="worker")
    profile = {"Name": "Workers"}
    made = user.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile=profile)  # type: ignore[arg-type] # words
    look = f"until imds get {ROLE}/worker; do sleep 0.2; done"
    reported = json.loads(login.run(look))
    assert (reported["Code"], reported["AccessKeyId"][:4]) == ("Success", "ASIA")
    association_id = made["IamInstanceProfileAssociation"]["AssociationId"]
    _check_association(user, login, association_id, reported)
    guest_role.install(login)
    endpoint = f"http://{cloud.settings.guest_listen}:{cloud.settings.http_port}"
    asked = f"Action=DescribeTags&Version=2016-11-15&Filter.1.Name=resource-id&Filter.1.Value.1={instance_id}"
    status, answer = guest_role.query(login, endpoint, asked)
    assert status == 200, answer
    assert "<key>role</key>" in answer
    asked = f"Action=TerminateInstances&Version=2016-11-15&InstanceId.1={instance_id}"
    status, answer = guest_role.query(login, endpoint, asked)
    assert status == 403, answer
    assert "UnauthorizedOperation" in answer
    assert f"assumed-role/worker/{instance_id}" in answer
    _check_objects(login, endpoint)
    _check_metrics(user, login, endpoint)
    assert user.state(instance_id) == "running"
    cloud.kill(cloud.controller)
    assert json.loads(login.run(look)) == reported
    cloud.up()
    session = boto3.Session(
        reported["AccessKeyId"], reported["SecretAccessKey"], reported["Token"], region_name="us-east-1"
    )
    sts = session.client(
        "sts",
        endpoint_url=cloud.settings.https_endpoint,
        verify=str(cloud.settings.ca_file),
        config=Config(proxies={}),
    )
    assert sts.get_caller_identity()["Arn"].endswith(f":assumed-role/worker/{instance_id}")  # after a restart as well
    user.ec2.disassociate_iam_instance_profile(AssociationId=association_id)
    login.run("while imds get meta-data/iam/info >/dev/null; do sleep 0.2; done")
    assert not _files_with(cloud.state_dir, reported["SecretAccessKey"].encode())


def _check_association(user: User, login: ssh.Login, association_id: str, reported: Mapping[str, str]) -> None:
    """See that it is associated once the guest is sent it, and that who shows no token gets other credentials."""

    def state() -> str:
        found = user.ec2.describe_iam_instance_profile_associations(AssociationIds=[association_id])
        return found["IamInstanceProfileAssociations"][0]["State"]

    wait_for(lambda: state() == "associated", "the host has said that its guest has it")
    by_v1 = json.loads(login.run(f"IMDS_TOKEN= imds get {ROLE}/worker"))
    assert (by_v1["Code"], by_v1["Expiration"]) == (reported["Code"], reported["Expiration"])
    assert by_v1["AccessKeyId"] != reported["AccessKeyId"]


def _check_objects(login: ssh.Login, endpoint: str) -> None:
    """Put an object and get it, by the guest's role, which may not remove it."""
    path = "/of-workers/from/a-guest"
    status, answer = guest_role.send_object(login, endpoint, "PUT", path, "made in a guest")
    assert status == 200, answer
    status, answer = guest_role.send_object(login, endpoint, "GET", path)
    assert (status, answer.endswith("made in a guest")) == (200, True), answer
    status, answer = guest_role.send_object(login, endpoint, "DELETE", path)
    assert (status, "AccessDenied" in answer) == (403, True), answer


def _check_metrics(user: User, login: ssh.Login, endpoint: str) -> None:
    """Measure by the guest's role, which may do so in one namespace; the owner reads it."""
    asked = "Action=PutMetricData&Version=2010-08-01&Namespace={}&MetricData.member.1.MetricName=Orders&MetricData.member.1.Value=17"
    status, answer = guest_role.query(login, endpoint, asked.format("Shop"), service="monitoring")
    assert status == 200, answer
    status, answer = guest_role.query(login, endpoint, asked.format("Other"), service="monitoring")
    assert (status, "AccessDenied" in answer) == (403, True), answer
    cloudwatch = user.account.client("cloudwatch")

    def is_found() -> bool:
        now = datetime.now(UTC)
        found = cloudwatch.get_metric_statistics(
            Namespace="Shop", MetricName="Orders", Period=3600, Statistics=["Sum"],
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
        )["Datapoints"]  # fmt: skip
        return [one["Sum"] for one in found] == [17]

    wait_for(is_found, "what the guest measured is found")


def _policy(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _files_with(folder: Path, secret: bytes) -> list[Path]:
    """Look for a secret in all that a cloud keeps, but for guests' disks and blocks."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size < 64 << 20 and secret in path.read_bytes()
    ]
