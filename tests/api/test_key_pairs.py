"""Key pairs through boto3: what is handed out can be used, and imported again under the fingerprint EC2 would show."""

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

PEM_BEGIN = {"rsa": "-----BEGIN RSA PRIVATE KEY-----", "ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----"}
LOADERS = {"rsa": load_pem_private_key, "ed25519": load_ssh_private_key}
SSH_NAMES = {"rsa": "ssh-rsa", "ed25519": "ssh-ed25519"}


def shown(api, name):
    return api.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]


@pytest.mark.parametrize("kind", PEM_BEGIN)
def test_a_made_key_is_shown_once_and_imported_elsewhere(api, kind):
    made = api.ec2.create_key_pair(KeyName="made", KeyType=kind)
    assert made["KeyMaterial"].startswith(PEM_BEGIN[kind])
    LOADERS[kind](made["KeyMaterial"].encode(), None)
    pair = shown(api, "made")
    assert (pair["KeyType"], pair["KeyFingerprint"]) == (kind, made["KeyFingerprint"])
    assert pair["PublicKey"].split()[0] == SSH_NAMES[kind]
    assert pair["PublicKey"].split()[2] == "made"
    again = api.other.import_key_pair(KeyName="again", PublicKeyMaterial=pair["PublicKey"].encode())
    # Of an RSA key EC2 shows the private half's digest when it was made there, the public half's when it was imported.
    assert (again["KeyFingerprint"] == made["KeyFingerprint"]) == (kind == "ed25519")


@pytest.mark.parametrize("kind", PEM_BEGIN)
def test_a_key_for_putty(api, kind):
    material = api.ec2.create_key_pair(KeyName="for putty", KeyType=kind, KeyFormat="ppk")["KeyMaterial"]
    lines = material.split("\n")
    assert lines[:3] == [f"PuTTY-User-Key-File-2: {SSH_NAMES[kind]}", "Encryption: none", "Comment: for putty"]
    blob = "".join(lines[4 : 4 + int(lines[3].removeprefix("Public-Lines: "))])
    assert shown(api, "for putty")["PublicKey"] == f"{SSH_NAMES[kind]} {blob} for putty"
    assert lines[-2].startswith("Private-MAC: ")


def test_a_key_without_material(api):
    api.refused("MissingParameter", api.ec2.import_key_pair, KeyName="empty", PublicKeyMaterial=b"")
    api.refused("InvalidKey.Format", api.ec2.import_key_pair, KeyName="empty", PublicKeyMaterial=b"ssh-rsa JUNK x")
    assert api.ec2.describe_key_pairs()["KeyPairs"] == []


@pytest.mark.parametrize(
    "wrong", [{"KeyFormat": "jwk"}, {"KeyType": "dsa"}, {"KeyName": "two\nlines", "KeyFormat": "ppk"}]
)
def test_what_is_no_key_is_refused(api, wrong):
    api.refused("InvalidParameterValue", api.ec2.create_key_pair, **{"KeyName": "a"} | wrong)
