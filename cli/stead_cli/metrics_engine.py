"""Where metrics are: in an engine that the controller starts, or in one that several share."""

import os
import stat
from pathlib import Path
from typing import Final

from stead_cli.block_store import require_certificate
from stead_cli.errors import CliError
from stead_cli.settings import NO_SERVER, Settings

_MORE: Final = "docs/operate/settings.md#metrics-on-another-machine"


def options(chosen: Settings) -> list[str]:
    """What names the engine to the controller; nothing where the controller starts one."""
    if not chosen.metrics_server:
        return []
    token = [f"--metrics-token-file={chosen.metrics_token_file}"] if chosen.metrics_token_file else []
    authority = [f"--metrics-ca-file={chosen.metrics_ca_file}"] if chosen.metrics_ca_file else []
    return [f"--metrics-endpoint={chosen.metrics_server}", *token, *authority]


def require(chosen: Settings) -> None:
    """Raise CliError for files that the controller would refuse, or where what was measured would not be shown."""
    if not chosen.metrics_server:
        return
    if chosen.metrics_token_file:
        _require_secret(Path(chosen.metrics_token_file))
    if chosen.metrics_ca_file:
        require_certificate(chosen.metrics_ca_file, "STEAD_METRICS_CA_FILE")
    folder = chosen.controller_dir / "metrics" / "data"
    if folder.exists():
        raise CliError(
            f"the metrics of this cloud are in {folder}, and STEAD_METRICS_ENDPOINT names another place",
            f"to move or leave them: {_MORE}; to stay: STEAD_METRICS_ENDPOINT={NO_SERVER}",
        )


def _require_secret(path: Path) -> None:
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read().strip()
    except OSError as error:
        raise CliError(f"STEAD_METRICS_TOKEN_FILE={path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise CliError(f"others than root may read {path}", f"chmod 600 {path}")
    if not text:
        raise CliError(
            f"{path} has no token", "one line: the bearer token, or USER:PASSWORD, that the server of metrics wants"
        )
