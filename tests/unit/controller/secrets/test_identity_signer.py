"""Identity documents are verified by `openssl` as AWS's documentation tells users to do."""

import subprocess
import threading
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography import x509

from stead_controller.desired.messages import identity
from stead_controller.secrets.identity_signer import IdentitySigner, Signed
from stead_proto.certificates import Authority
from stead_proto.v1 import desired_pb2 as pb

MACHINE = pb.Machine(
    architecture="x86_64",
    metadata=pb.Metadata(
        instance_id="i-0123456789abcdef0",
        account_id="123456789012",
        image_id="ami-0123456789abcdef0",
        instance_type="t3.micro",
        region="us-east-1",
        availability_zone="us-east-1a",
        private_address="172.31.0.5",
        pending_time=1479573131,
    ),
)
DOCUMENT = """{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-0123456789abcdef0",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "t3.micro",
  "kernelId" : null,
  "pendingTime" : "2016-11-19T16:32:11Z",
  "privateIp" : "172.31.0.5",
  "ramdiskId" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def signer(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> IdentitySigner:
    return IdentitySigner.load_or_create(tmp_path_factory.mktemp("ca"), authority)


@pytest.fixture
def files(tmp_path: Path, authority: Authority, signer: IdentitySigner) -> Path:
    """A folder with what a user has: the certificate and the CA's, and what a guest read of its identity."""
    signed = signer.sign(DOCUMENT.encode())
    (tmp_path / "certificate").write_bytes(signer.certificate_pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "document").write_text(DOCUMENT)
    (tmp_path / "signature").write_bytes(signed.signature)
    text = b64encode(signed.pkcs7).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    (tmp_path / "rsa2048").write_text(f"-----BEGIN PKCS7-----\n{lines}\n-----END PKCS7-----\n")
    return tmp_path


def openssl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def verify_message(folder: Path, *trust: str) -> subprocess.CompletedProcess[str]:
    words = ("smime", "-verify", "-in", "rsa2048", "-inform", "PEM", "-content", "document", "-certfile", "certificate")
    return openssl(folder, *words, *trust)


def verify_signature(folder: Path) -> int:
    (folder / "key").write_text(openssl(folder, "x509", "-pubkey", "-noout", "-in", "certificate").stdout)
    return openssl(folder, "dgst", "-sha256", "-verify", "key", "-signature", "signature", "document").returncode


def test_document_is_written_as_ec2_writes_it() -> None:
    assert identity.document(MACHINE).decode() == DOCUMENT


def test_message_is_verified_by_the_documented_commands(files: Path) -> None:
    assert verify_message(files, "-noverify").returncode == 0
    checked = verify_message(files, "-CAfile", "ca.pem")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.replace("\r\n", "\n") == DOCUMENT


def test_signature_is_verified_by_the_documented_commands(files: Path) -> None:
    assert verify_signature(files) == 0


def test_another_document_is_refused(files: Path) -> None:
    (files / "document").write_text(DOCUMENT.replace("t3.micro", "t3.large"))
    assert verify_message(files, "-noverify").returncode != 0
    assert verify_signature(files) != 0


def test_another_signer_is_refused(files: Path, authority: Authority) -> None:
    other = IdentitySigner.load_or_create(files, authority)
    (files / "certificate").write_bytes(other.certificate_pem)
    assert verify_message(files, "-noverify").returncode != 0
    assert verify_signature(files) != 0


def test_several_that_begin_at_once_have_one_key(tmp_path: Path, authority: Authority) -> None:
    made: list[bytes] = []

    def make() -> None:
        made.append(IdentitySigner.load_or_create(tmp_path, authority).certificate_pem)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len(set(made)) == 1
    [retained] = tmp_path.iterdir()
    assert retained.stat().st_mode & 0o777 == 0o600


def test_the_certificate_of_another_key_is_refused_at_the_start(tmp_path: Path, authority: Authority) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
        IdentitySigner.load_or_create(folder, authority)
    path, other = (folder / "instance-identity.pem" for folder in folders)
    begin = b"-----BEGIN CERTIFICATE-----"  # keys are not all written at the same length
    key, (_, _, certificate) = path.read_bytes().partition(begin)[0], other.read_bytes().partition(begin)
    path.unlink()
    path.write_bytes(key + begin + certificate)
    with pytest.raises(ValueError, match="another key"):
        IdentitySigner.load_or_create(path.parent, authority)


def test_certificate_signs_documents_and_nothing_else(authority: Authority, signer: IdentitySigner) -> None:
    certificate = x509.load_pem_x509_certificate(signer.certificate_pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    present = {type(extension.value) for extension in certificate.extensions}
    assert not present & {x509.SubjectAlternativeName, x509.ExtendedKeyUsage}  # it passes for no controller and no host


def test_a_machine_is_signed_as_it_is_sent(signer: IdentitySigner) -> None:
    body = pb.Resource(id="i-0123456789abcdef0", machine=MACHINE).SerializeToString()
    sent = pb.Resource.FromString(identity.signed(body, signer.sign))
    found = sent.machine.metadata.identity
    assert found.document.decode() == DOCUMENT
    assert Signed(found.signature, found.pkcs7) == signer.sign(DOCUMENT.encode())
    sent.machine.metadata.ClearField("identity")
    assert sent == pb.Resource.FromString(body)
