"""Public keys in every form that EC2 imports, and nothing else."""

import hashlib
import subprocess
from base64 import b64decode, b64encode
from textwrap import fill

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter
from stead_controller.resources.instances import public_keys

RSA = rsa.generate_private_key(65537, 2048).public_key()
ED25519 = ed25519.Ed25519PrivateKey.generate().public_key()
KEYS = {"rsa": RSA, "ed25519": ED25519}


KNOWN_RSA = (
    "ssh-rsa "
    "AAAAB3NzaC1yc2EAAAADAQABAAABAQCl00zD/wqo2eKyOtcOx7Cqz246Bhp9q7ZSdSFV5WJhhadsplSkXXjGuKAsRFH9kZ/U"
    "18CCyzRn4Yq30/lKrNt8xCXJc5Sh5ZSgVAfNbe2FcT61f5iV/m6f20z8ibQ6elUdF2c2VqE3v2DiT6KgcJI5Zq+u30KgLkbL"
    "S2Mqky4bRnUFFN2N6J0gzmYvZTXRBNXPJ6m9gfbZeffoo9Oov3Bhk7skmQ5C/8do376YS5EsrVUbwRNsnImMN96MBNL+LnLm"
    "D9V4fYygDzjE3ZTBC3NGB0EFa37oJPrzRZjXZ6YboE2fkyEWylrAYqV5ysgQTjY079dCtFw81CvStUf3Eizn"
)
KNOWN_RSA_FINGERPRINT = "86:f2:c7:11:e2:d0:16:db:2a:73:e6:85:07:c7:ec:76"
KNOWN_ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHArsf7vlbvB8wxRVL1ZMOcowDPOiLElMSwFLHbPEGAG"
KNOWN_ED25519_FINGERPRINT = "eJHIY7RzsrpT76mMR+/nVCfR/eZRzPgIsFa0o/jARcM="


def openssh(key) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def der(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def ssh2(key) -> str:
    blob = openssh(key).split()[1]
    return (
        "---- BEGIN SSH2 PUBLIC KEY ----\n"
        'Subject: me\nComment: "a long \\\ncomment: with a colon"\n'
        f"{fill(blob, 70)}\n"
        "---- END SSH2 PUBLIC KEY ----\n"
    )


FORMS = {
    "openssh": lambda key: openssh(key).encode(),
    "openssh with comment": lambda key: f"{openssh(key)} me@home and more\n".encode(),
    "rfc 4716": lambda key: ssh2(key).encode(),
    "rfc 4716 with CRLF": lambda key: ssh2(key).replace("\n", "\r\n").encode(),
    "base64 of der": lambda key: b64encode(der(key)),
    "wrapped base64 of der": lambda key: fill(b64encode(der(key)).decode(), 64).encode(),
    "der": der,
    "pem": lambda key: key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KEYS)
def test_every_form_reads_as_the_same_key(kind, form):
    found = public_keys.read(FORMS[form](KEYS[kind]))
    assert found.key_type == kind
    assert found.openssh == openssh(KEYS[kind])


def test_an_imported_rsa_key_is_known_by_md5_of_its_public_half():
    digest = hashlib.md5(der(RSA)).hexdigest()
    assert public_keys.read(openssh(RSA).encode()).fingerprint == ":".join(
        digest[at : at + 2] for at in range(0, 32, 2)
    )


def test_an_ed25519_key_is_known_as_ssh_keygen_knows_it(tmp_path):
    file = tmp_path / "key.pub"
    file.write_text(openssh(ED25519))
    shown = subprocess.run(["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True).stdout
    fingerprint = public_keys.read(openssh(ED25519).encode()).fingerprint
    assert fingerprint.rstrip("=") in shown
    assert len(fingerprint) % 4 == 0


def test_a_made_rsa_key_is_as_ec2_makes_it():
    made = public_keys.make_rsa("pem", "")
    assert made.private_text.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert made.private_text.endswith("\n-----END RSA PRIVATE KEY-----")
    private = load_pem_private_key(made.private_text.encode(), None)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert made.public.fingerprint.replace(":", "") == hashlib.sha1(pkcs8).hexdigest()
    assert openssh(private.public_key()) == made.public.openssh
    assert made.private_text.splitlines()[2] not in repr(made)


def test_a_made_ed25519_key_is_as_ec2_makes_it():
    made = public_keys.make_ed25519("pem", "")
    assert made.private_text.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    private = load_ssh_private_key(made.private_text.encode(), None)
    assert openssh(private.public_key()) == made.public.openssh
    digest = hashlib.sha256(b64decode(made.public.openssh.split()[1])).digest()
    assert made.public.fingerprint == b64encode(digest).decode()


def output(*words):
    """What a program writes."""
    return subprocess.run(words, capture_output=True, check=True, timeout=60).stdout


def colons(digest):
    return digest.hex(":")


def test_fingerprints_are_those_of_the_documented_commands(tmp_path):
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html: of keys that EC2 made, and of imported ones."""
    file = tmp_path / "key.pem"
    made = public_keys.make_rsa("pem", "")
    file.write_text(made.private_text + "\n")
    pkcs8 = output("openssl", "pkcs8", "-in", file, "-inform", "PEM", "-outform", "DER", "-topk8", "-nocrypt")
    assert made.public.fingerprint == colons(hashlib.sha1(pkcs8).digest())
    public = output("openssl", "rsa", "-in", file, "-pubout", "-outform", "DER")
    assert public_keys.read(made.public.openssh.encode()).fingerprint == colons(hashlib.md5(public).digest())
    made = public_keys.make_ed25519("pem", "")
    file.write_text(made.private_text)
    file.chmod(0o600)
    shown = output("ssh-keygen", "-l", "-f", file).decode().split()[1]
    assert shown == f"SHA256:{made.public.fingerprint.rstrip('=')}"
    assert public_keys.read(made.public.openssh.encode()).fingerprint == made.public.fingerprint


def test_fingerprints_of_known_keys():
    """Computed once by `openssl rsa -pubin -outform DER | openssl md5 -c` and by `ssh-keygen -l`."""
    assert public_keys.read(KNOWN_RSA.encode()).fingerprint == KNOWN_RSA_FINGERPRINT
    assert public_keys.read(KNOWN_ED25519.encode()).fingerprint == KNOWN_ED25519_FINGERPRINT


def refused(material: bytes) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        public_keys.read(material)
    assert refusal.value.code == "InvalidKey.Format"


def test_other_kinds_of_keys_are_refused():
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    old = dsa.generate_private_key(1024).public_key()
    for material in (openssh(curve).encode(), der(curve), der(old), b64encode(der(curve)), ssh2(curve).encode()):
        refused(material)


def test_a_short_rsa_key_is_refused():
    # 1024 bits are the least that the library makes; EC2 takes them, so a shorter one is written by hand.
    assert public_keys.read(openssh(rsa.generate_private_key(65537, 1024).public_key()).encode()).key_type == "rsa"
    blob = b"".join(len(part).to_bytes(4) + part for part in (b"ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xff" * 64))
    refused(b"ssh-rsa " + b64encode(blob))


@pytest.mark.parametrize(
    "material",
    [
        b"",
        b" ",
        b"ssh-rsa",
        b"ssh-rsa AAAA",
        b"ssh-rsa !!!!",
        openssh(RSA).replace("ssh-rsa", "ssh-ed25519").encode(),
        f"{openssh(RSA)}\n{openssh(ED25519)}".encode(),
        f"command=x {openssh(RSA)}".encode(),
        b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        b"\xff\xfe",
        b"A" * 20_000,
    ],
)
def test_nonsense_is_refused(material):
    refused(material)


def outcome(material: bytes) -> str:
    """The kind of key, or the code of the refusal."""
    try:
        return public_keys.read(material).key_type
    except InvalidParameter as refusal:
        return str(refusal.code)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_arbitrary_bytes_are_a_key_or_a_clean_refusal(material):
    assert outcome(material) in {"rsa", "ed25519", "InvalidKey.Format"}


@given(st.data())
def test_damaged_keys_are_a_key_or_a_clean_refusal(data):
    form = FORMS[data.draw(st.sampled_from(sorted(FORMS)))]
    material = bytearray(form(KEYS[data.draw(st.sampled_from(sorted(KEYS)))]))
    position = data.draw(st.integers(0, len(material) - 1))
    material[position] = data.draw(st.integers(0, 255))
    result = outcome(bytes(material))
    assert result in {"rsa", "ed25519", "InvalidKey.Format"}
    if result != "InvalidKey.Format":
        assert len(public_keys.read(bytes(material)).openssh.split()) == 2


def test_material_has_an_end():
    comment = "x" * (public_keys.MAX_MATERIAL - len(openssh(ED25519)) - 1)
    assert public_keys.read(f"{openssh(ED25519)} {comment}".encode()).key_type == "ed25519"
    refused(f"{openssh(ED25519)} {comment}x".encode())
