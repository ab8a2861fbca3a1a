"""A real guest proves who it is, hands its owner a secret, and is asked for its metadata otherwise while it runs."""

import json
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stead_cli import ssh
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

IDENTITY = "dynamic/instance-identity"
TAG = "meta-data/tags/instance/Name"
SECRET = b"correct horse, Windows"


def test_identity_password_and_options(user: User, real_cloud: RealCloud, tmp_path: Path) -> None:
    pair = user.ec2.create_key_pair(KeyName="windows", KeyType="rsa")
    pem = tmp_path / "windows.pem"
    pem.touch(mode=0o600)
    pem.write_text(pair["KeyMaterial"] + "\n", encoding="ascii")
    [instance_id] = user.run(
        KeyName="windows",
        MetadataOptions={"InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "proof"}]}],
    )
    login = replace(user.login(instance_id), key_file=pem)
    _check_identity(user, login, instance_id, real_cloud.settings.identity_file, tmp_path)
    _check_password(user, login, instance_id, pem)
    _check_options(user, login, instance_id)


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
    told = replace(user.account, session_token=mine["Token"], **keys).client("sts").get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::{user.account.account_id}:assumed-role/aws:ec2-instance/{instance_id}"
    (folder / "document").write_text(read["document"])
    (folder / "rsa2048").write_text(f"-----BEGIN PKCS7-----\n{read['rsa2048']}\n-----END PKCS7-----\n")
    (folder / "signature64").write_text(read["signature"] + "\n")
    words = f"""
        openssl smime -verify -in rsa2048 -inform PEM -content document -certfile {certificate} -noverify
        openssl base64 -d -in signature64 -out signature
        openssl x509 -pubkey -noout -in {certificate} -out key
        openssl dgst -sha256 -verify key -signature signature document
    """
    subprocess.run(["sh", "-ec", words], cwd=folder, check=True, capture_output=True, timeout=30)


def _check_password(user: User, login: ssh.Login, instance_id: str, pem: Path) -> None:
    """Write to the console as EC2Launch does, and have the `aws` command decrypt what is found there."""
    assert user.ec2.get_password_data(InstanceId=instance_id)["PasswordData"] == ""
    key = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    text = b64encode(key.public_key().encrypt(SECRET, padding.PKCS1v15())).decode()
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    login.run(f"sudo tee /dev/console >/dev/null <<'end'\n<Password>\n{lines}\n</Password>\nend\n")
    wait_for(lambda: user.ec2.get_password_data(InstanceId=instance_id)["PasswordData"], "the password is found")
    words = ("ec2", "get-password-data", "--instance-id", instance_id, "--priv-launch-key", str(pem))
    shown = user.account.aws(*words)
    assert shown["PasswordData"] == SECRET.decode()


def _check_options(user: User, login: ssh.Login, instance_id: str) -> None:
    """Change what is answered while the guest runs; by a token, and without."""
    asked = ("imds get meta-data/instance-id", "IMDS_TOKEN= imds get meta-data/instance-id", f"imds get {TAG}")
    look = "; ".join(f"{each} >/dev/null && echo yes || echo no" for each in asked)  # one login costs as much as these

    def change(what: str, **options: str) -> None:
        user.ec2.modify_instance_metadata_options(InstanceId=instance_id, **options)  # type: ignore[arg-type] # words
        wait_for(lambda: login.run(look).split() == what.split(), f"tokens, none and tags are answered: {what}")

    assert login.run(look).split() == ["yes", "yes", "yes"]
    change("yes no yes", HttpTokens="required")
    change("yes no no", InstanceMetadataTags="disabled")
    change("no no no", HttpEndpoint="disabled")
    change("yes yes yes", HttpEndpoint="enabled", HttpTokens="optional", InstanceMetadataTags="enabled")
