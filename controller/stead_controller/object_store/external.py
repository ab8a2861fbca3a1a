"""Any other S3 server as the one behind, configured by the operator."""

from pathlib import Path

from stead_controller.blocks.bucket import Key
from stead_controller.object_store.backend import ServerAddress


class ExternalServer:
    """A server at an endpoint, with its own access key."""

    def __init__(self, endpoint: str, region: str, key_file: Path, ca_file: Path | None = None) -> None:
        """Read the key; raises OSError, ValueError for a bad key file.

        `ca_file` has the authority of the endpoint's certificate; without it those that browsers trust are.
        """
        key = Key.from_file(key_file)
        self._place = ServerAddress(endpoint.rstrip("/"), region, key.id, key.secret, ca_file=ca_file)

    async def place(self) -> ServerAddress:
        """Return its address."""
        return self._place

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
