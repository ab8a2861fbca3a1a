"""PuTTY key files, read by a second reading of the format and by PuTTY's own program where it is installed."""

import hashlib
import hmac
import shutil
import subprocess
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from stead_controller.resources.instances import public_keys, putty_key

KEYS = {"rsa": generate_private_key(65537, 2048), "ed25519": Ed25519PrivateKey.generate()}


def parts(text):
    """The fields of a file by their titles; those of several lines as bytes."""
    lines = iter(text.split("\n"))
    found = {}
    for line in lines:
        title, _, value = line.partition(": ")
        if title.endswith("-Lines"):
            found[title] = b64decode("".join(next(lines) for _ in range(int(value))), validate=True)
        elif title:
            found[title] = value
    return found


def strings(blob):
    found = []
    while blob:
        length = int.from_bytes(blob[:4])
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def raw(key):
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def openssh(key):
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize("kind", KEYS)
def test_mac_covers_all_of_the_file(kind):
    found = parts(putty_key.write(KEYS[kind], "my key"))
    assert list(found) == [
        "PuTTY-User-Key-File-2",
        "Encryption",
        "Comment",
        "Public-Lines",
        "Private-Lines",
        "Private-MAC",
    ]
    assert found["Comment"] == "my key"
    assert b64decode(openssh(KEYS[kind]).split()[1]) == found["Public-Lines"]
    fields = [
        found["PuTTY-User-Key-File-2"].encode(),
        b"none",
        b"my key",
        found["Public-Lines"],
        found["Private-Lines"],
    ]
    data = b"".join(len(each).to_bytes(4) + each for each in fields)
    key = hashlib.sha1(b"putty-private-key-file-mac-key").digest()
    assert hmac.new(key, data, hashlib.sha1).hexdigest() == found["Private-MAC"]


def test_an_rsa_key_comes_back():
    found = parts(putty_key.write(KEYS["rsa"], ""))
    name, e, n = strings(found["Public-Lines"])
    numbers = strings(found["Private-Lines"])
    assert name == b"ssh-rsa"
    assert all(each[0] < 128 for each in (e, n, *numbers))  # positive, as two's complement is read
    d, p, q, inverse = (int.from_bytes(each) for each in numbers)
    public = RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n))
    private = RSAPrivateNumbers(p, q, d, rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), inverse, public)
    assert raw(private.private_key()) == raw(KEYS["rsa"])


def test_an_ed25519_key_comes_back():
    [seed] = strings(parts(putty_key.write(KEYS["ed25519"], ""))["Private-Lines"])
    assert raw(Ed25519PrivateKey.from_private_bytes(seed)) == raw(KEYS["ed25519"])


@pytest.mark.skipif(shutil.which("puttygen") is None, reason="PuTTY is no part of Stead: Debian's putty-tools has it")
@pytest.mark.parametrize("kind", public_keys.GENERATORS)
def test_puttygen_reads_it(kind, tmp_path):
    made = public_keys.GENERATORS[kind]("ppk", "my key")
    file, converted = tmp_path / "key.ppk", tmp_path / "key"
    file.write_text(made.private_text)
    words = ["puttygen", file, "-O", "private-openssh-new", "-o", converted]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert openssh(load_ssh_private_key(converted.read_bytes(), None)) == made.public.openssh
