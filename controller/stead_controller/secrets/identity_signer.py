"""Sign instance identity documents with a key certified by Stead's own CA.

The key stays on the controller: hosts get signed documents, so that no host can make one for another host's guest.
One signature serves all three forms that guests read, because the PKCS #7 message has no attributes that would be
signed beside the document: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-iid.html.
"""

from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from stead_controller.secrets import signing_key
from stead_proto.certificates import Authority

_FILE: Final = "instance-identity.pem"
_NAME: Final = "Stead instance identity"
# The content is not mail; verifiers have the certificate, as with EC2.
_FORM: Final = (pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes, pkcs7.PKCS7Options.NoCerts)


class Signed(NamedTuple):
    """A document's signatures: RSA PKCS #1 v1.5 with SHA-256 over its bytes, alone and in a message with it (DER)."""

    signature: bytes
    pkcs7: bytes


class IdentitySigner:
    """The key of instance identity documents, and its certificate."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        """Take the pair; see `load_or_create`."""
        self._key = key
        self._certificate = certificate

    @classmethod
    def load_or_create(cls, directory: Path, authority: Authority) -> Self:
        """Read the key from a directory, created at the first use; concurrent processes get the same one.

        Raises TypeError where the file has another kind of key, ValueError where key and certificate are no pair.
        """
        return cls(*signing_key.load_or_create(directory / _FILE, authority, _NAME))

    @property
    def certificate_pem(self) -> bytes:
        """The certificate with which users verify documents."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, document: bytes) -> Signed:
        """Sign a document: half a millisecond, and always the same for the same bytes."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(document)
        message = builder.add_signer(self._certificate, self._key, hashes.SHA256()).sign(
            serialization.Encoding.DER, _FORM
        )
        return Signed(message[-signing_key.BITS // 8 :], message)  # the signature is the last field of the message
