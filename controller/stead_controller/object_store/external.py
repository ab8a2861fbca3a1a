"""Any other S3 server as the one behind, by the operator's settings."""

from pathlib import Path

from stead_controller.blocks.bucket import Key
from stead_controller.object_store.backend import ServerAddress


class ExternalServer:
    """A server at an endpoint, by a key of its own."""

    def __init__(self, endpoint: str, region: str, key_file: Path) -> None:
        """Read the key; raises OSError, ValueError for a bad key file."""
        key = Key.from_file(key_file)
        self._place = ServerAddress(endpoint.rstrip("/"), region, key.id, key.secret)

    async def place(self) -> ServerAddress:
        """Give where it answers."""
        return self._place

    def close(self) -> None:
        """There is nothing to let go of."""
