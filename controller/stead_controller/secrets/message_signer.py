"""Signs the messages of topics with a key certified by Stead's own CA, and names the certificate as SNS does.

See https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html: SignatureVersion 2.
"""

from base64 import b64encode
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from stead_controller.secrets import signing_key
from stead_proto.certificates import Authority

PATH: Final = "/SimpleNotificationService-"
"""How the path of the certificate begins."""

_FILE: Final = "topic-messages.pem"
_NAME: Final = "Stead topic messages"


class MessageSigner:
    """The key of topics' messages and its certificate, read or made when first needed."""

    def __init__(self, directory: Path, authority: Authority, *, is_copied: bool = False) -> None:
        """Set the folder of the key, and who certifies it.

        Where further controllers get a copy of that folder (`is_copied`), the key is made now: each signs with it.
        """
        self._directory = directory
        self._authority = authority
        if is_copied:
            _ = self._pair

    @cached_property
    def _pair(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        return signing_key.load_or_create(self._directory / _FILE, self._authority, _NAME)

    @cached_property
    def path(self) -> str:
        """The path at which the certificate is served, with its fingerprint."""
        return f"{PATH}{self._pair[1].fingerprint(hashes.SHA256()).hex()[:32]}.pem"

    @cached_property
    def certificate_pem(self) -> bytes:
        """The certificate with which receivers verify messages."""
        return self._pair[1].public_bytes(serialization.Encoding.PEM)

    def sign(self, text: bytes) -> str:
        """Return the signature of a text: RSA PKCS #1 v1.5 with SHA-256, in base64."""
        return b64encode(self._pair[0].sign(text, padding.PKCS1v15(), hashes.SHA256())).decode("ascii")
