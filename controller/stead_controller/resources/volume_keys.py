"""Keys of encrypted volumes."""

from stead_controller.errors import Unsupported


def new_sealed_key() -> bytes:
    """Make a key for an encrypted volume, sealed by the master key."""
    raise Unsupported("Encrypted volumes are not supported yet.")
