"""Where the objects of accounts' buckets are: in a server that the controller starts, or in one that several share."""

from typing import Final

from stead_cli.server_elsewhere import given, read_key, require_certificate, require_nothing_left
from stead_cli.settings import NO_SERVER, Settings

_MOVING: Final = "docs/operate/settings.md#buckets-on-another-machine"


def options(chosen: Settings) -> list[str]:
    """What names the server to the controller; nothing where the controller starts one."""
    if not chosen.object_server:
        return []
    return given(
        object_endpoint=chosen.object_server,
        object_region=chosen.object_region,
        object_key_file=chosen.object_key_file,
        object_ca_file=chosen.object_ca_file,
    )


def require(chosen: Settings) -> None:
    """Raise CliError for files that the controller would refuse, or where buckets would lose what is in them so far."""
    if not chosen.object_server:
        return
    read_key(chosen.object_key_file, "STEAD_OBJECT_KEY_FILE")
    require_certificate(chosen.object_ca_file, "STEAD_OBJECT_CA_FILE")
    require_nothing_left(
        chosen.controller_dir / "object-store" / "data",
        "the objects of this cloud's buckets",
        "STEAD_OBJECT_ENDPOINT",
        f"to move them: {_MOVING}; to stay: STEAD_OBJECT_ENDPOINT={NO_SERVER}",
    )
