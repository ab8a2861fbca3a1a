"""Where metrics are: in an engine that the controller starts, or in one that several share."""

from typing import Final

from stead_cli.errors import CliError
from stead_cli.server_elsewhere import given, read_secret, require_certificate, require_nothing_left
from stead_cli.settings import NO_SERVER, Settings

_MORE: Final = "docs/operate/settings.md#metrics-on-another-machine"


def options(chosen: Settings) -> list[str]:
    """What names the engine to the controller; nothing where the controller starts one."""
    if not chosen.metrics_server:
        return []
    return given(
        metrics_endpoint=chosen.metrics_server,
        metrics_token_file=chosen.metrics_token_file,
        metrics_ca_file=chosen.metrics_ca_file,
    )


def require(chosen: Settings) -> None:
    """Raise CliError for files that the controller would refuse, or where what was measured would not be shown."""
    if not chosen.metrics_server:
        return
    if chosen.metrics_token_file:
        _require_token(chosen.metrics_token_file)
    require_certificate(chosen.metrics_ca_file, "STEAD_METRICS_CA_FILE")
    require_nothing_left(
        chosen.controller_dir / "metrics" / "data",
        "the metrics of this cloud",
        "STEAD_METRICS_ENDPOINT",
        f"to move or leave them: {_MORE}; to stay: STEAD_METRICS_ENDPOINT={NO_SERVER}",
    )


def _require_token(path: str) -> None:
    if not read_secret(path, "STEAD_METRICS_TOKEN_FILE"):
        raise CliError(
            f"{path} has no token", "one line: the bearer token, or USER:PASSWORD, that the server of metrics wants"
        )
