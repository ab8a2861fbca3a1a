"""Where the programs of this machine send traces of calls, if anywhere."""

import importlib.util
import sys
from pathlib import Path
from urllib.parse import urlsplit

from stead_cli.errors import CliError
from stead_cli.settings import Settings
from stead_proto import traces


def options(chosen: Settings) -> list[str]:
    """What names that server to the controller and to the agent; nothing where there are no traces."""
    if not chosen.traces_server:
        return []
    authority = [f"--traces-ca-file={chosen.traces_ca_file}"] if chosen.traces_ca_file else []
    headers = [f"--traces-headers-file={chosen.traces_headers_file}"] if chosen.traces_headers_file else []
    return [f"--traces-endpoint={chosen.traces_server}", *authority, *headers]


def controller_options(chosen: Settings) -> list[str]:
    """The same for the controller, which decides what is traced."""
    share = [f"--traces-share={chosen.traces_share}"] if chosen.traces_server and chosen.traces_share else []
    return [*options(chosen), *share]


def require(chosen: Settings) -> None:
    """Raise CliError for traces that the programs could not send; the server may be away."""
    if not chosen.traces_server:
        return
    if not all(map(_is_installed, traces.PACKAGES)):
        bin_folder = Path(sys.executable).parent
        raise CliError(
            "what makes traces is not installed", f"{bin_folder}/pip install {' '.join(traces.DISTRIBUTIONS)}"
        )
    try:
        parts = urlsplit(chosen.traces_server)
        is_server = parts.scheme in {"http", "https"} and bool(parts.hostname)
        has_secret = "@" in parts.netloc or bool(parts.query)
    except ValueError:
        is_server = has_secret = False
    if not is_server:
        raise CliError(
            "STEAD_TRACES_ENDPOINT is no URL of a server", "http://HOST:4318, or https; without traces: none"
        )
    if has_secret:
        raise CliError(
            "STEAD_TRACES_ENDPOINT has what may be a password: others would read it in the list of processes",
            "write it as a header into a file that only root may read: STEAD_TRACES_HEADERS_FILE",
        )
    try:
        if chosen.traces_headers_file:
            traces.read_headers(Path(chosen.traces_headers_file))
        if chosen.traces_share:
            _check_share(chosen.traces_share)
        if chosen.traces_ca_file and not Path(chosen.traces_ca_file).is_file():
            raise CliError(f"STEAD_TRACES_CA_FILE: {chosen.traces_ca_file} is no file")
    except traces.TracesError as error:
        raise CliError(str(error), "one NAME: VALUE on each line, in a file of mode 0600") from error


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of what it is a part of
        return False


def _check_share(text: str) -> None:
    try:
        is_share = 0 <= float(text) <= 1
    except ValueError:
        is_share = False
    if not is_share:
        raise CliError(f"STEAD_TRACES_SHARE={text} is no share", "from 0, of no call, to 1, of all")
