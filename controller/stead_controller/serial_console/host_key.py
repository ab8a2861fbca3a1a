"""The key by which clients know the SSH server of serial consoles; its public half lies beside it."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_NAME: Final = "serial-console-key"


def load_or_create(folder: Path) -> bytes:
    """Return the private key in OpenSSH's form, made if there is none; `serial-console-key.pub` is the public one."""
    path = folder / _NAME
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        path.with_suffix(".pub").write_bytes(public + b"\n")
        fresh = folder / f".{_NAME}.new"
        fresh.touch(mode=0o600)
        fresh.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        fresh.replace(path)
    return path.read_bytes()
