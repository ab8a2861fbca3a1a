"""RSA keys of which Stead's own CA certifies that they sign something, each in a file of its own."""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from stead_proto.certificates import Authority
from stead_proto.tls import write_once

BITS: Final = 2048

_CERTIFICATE_START: Final = b"-----BEGIN CERTIFICATE-----"


def load_or_create(path: Path, authority: Authority, name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """Read a key and its certificate, created at the first use; concurrent processes get the same ones.

    Raises TypeError where the file has another kind of key, ValueError where key and certificate are no pair.
    """
    if not path.exists():
        key = rsa.generate_private_key(65537, BITS)
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_once(path, key_pem + authority.certify_signer(key.public_key(), name))
    both = path.read_bytes()
    start = both.index(_CERTIFICATE_START)
    # The key is our own: checking its primes again would add 30 ms to each start.
    loaded = serialization.load_pem_private_key(both[:start], password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    certificate = x509.load_pem_x509_certificate(both[start:])
    if loaded.public_key() != certificate.public_key():
        raise ValueError(f"{path} holds the certificate of another key")
    return loaded, certificate
