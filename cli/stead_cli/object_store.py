"""Where the objects of accounts' buckets are: in a server that the controller starts, or in one that several share."""

from pathlib import Path
from typing import Final

from stead_cli.block_store import read_key, require_certificate
from stead_cli.errors import CliError
from stead_cli.settings import NO_SERVER, Settings

_MOVING: Final = "docs/operate/settings.md#buckets-on-another-machine"


def options(chosen: Settings) -> list[str]:
    """What names the server to the controller; nothing where the controller starts one."""
    if not chosen.object_server:
        return []
    authority = [f"--object-ca-file={chosen.object_ca_file}"] if chosen.object_ca_file else []
    return [
        f"--object-endpoint={chosen.object_server}",
        f"--object-region={chosen.object_region}",
        f"--object-key-file={chosen.object_key_file}",
        *authority,
    ]


def require(chosen: Settings) -> None:
    """Raise CliError for files that the controller would refuse, or where buckets would lose what is in them so far."""
    if not chosen.object_server:
        return
    read_key(Path(chosen.object_key_file), "STEAD_OBJECT_KEY_FILE")
    if chosen.object_ca_file:
        require_certificate(chosen.object_ca_file, "STEAD_OBJECT_CA_FILE")
    folder = chosen.controller_dir / "object-store" / "data"
    if folder.exists():
        raise CliError(
            f"the objects of this cloud's buckets are in {folder}, and STEAD_OBJECT_ENDPOINT names another place",
            f"to move them: {_MOVING}; to stay: STEAD_OBJECT_ENDPOINT={NO_SERVER}",
        )
