"""What a cloud keeps on its machine is nobody else's to read."""

from tests.support.holes import parts_of
from tests.support.real_cloud import RealCloud


def test_secrets_are_for_their_owner_only(real_cloud: RealCloud) -> None:
    """Below the state directory only the CA's certificate, settings and built images may be read by others."""
    for path in real_cloud.state_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o004:
            for content in parts_of(path):
                assert b"PRIVATE KEY" not in content, path
                assert real_cloud.account.secret_access_key.encode() not in content, path
