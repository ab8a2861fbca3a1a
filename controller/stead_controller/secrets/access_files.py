"""The certificates that operators and clients read in the state directory: made once, and anew when they end soon."""

from pathlib import Path

from stead_proto.certificates import Authority
from stead_proto.tls import ends_soon, write_private, write_public


def write(state_dir: Path, authority: Authority) -> None:
    """Write ca.pem, and operator.pem with operator-key.pem, unless they are as they should be.

    The operator's key stays when its certificate is made anew: so one file changes, and a kill leaves a pair.
    """
    write_public(state_dir / "ca.pem", authority.ca_pem)
    certificate, key = state_dir / "operator.pem", state_dir / "operator-key.pem"
    if certificate.exists():
        present = certificate.read_bytes()
        if authority.has_signed(present) and not ends_soon(present):
            return
    operator = authority.issue_operator("admin", key_pem=key.read_bytes() if key.exists() else b"")
    if not key.exists():
        write_private(key, operator.key_pem)
    write_private(certificate, operator.certificate_pem)
